// Package frame finds messages in a stream of bytes: in what Data of a loop's handler gets, or in
// any other []byte. It has three formats:
//
//   - Delimited: a frame ends with a delimiter, such as a newline. Lines returns the format of
//     lines that end with LF or CRLF.
//   - Prefixed: the frame's length precedes it, in 1, 2, 3, 4 or 8 bytes.
//   - Varint: the frame's length precedes it as an unsigned varint, as in protobuf and
//     encoding/binary.
//
// Each format has a maximum length for frames, MaxBytes, and encodes frames, too (Append). In a
// handler, Each calls a function for every complete frame and returns what Data must return:
//
//	var lines = frame.Lines(4096)
//
//	func (s *session) Data(c *loop.Conn, b []byte) (consumed int, err error) {
//		return frame.Each(lines, b, func(line []byte) error { return s.command(c, line) })
//	}
//
// A handler that stops after a frame, for example because it has called Pause, calls Next in a
// loop of its own, or returns ErrStop from the function. One that does not need a long frame in
// memory as a whole decodes only the length, by Header of Prefixed and Varint.
//
// A frame is a part of the given bytes, and is valid for as long as they are: in Data, until Data
// returns. Nothing is copied or allocated, except to return an error or to append to a slice that
// is too short. The capacity of a frame is its length, so appending to it does not overwrite what
// follows.
//
// # Frames in parts
//
// Next returns 0 if the bytes end before the frame does: in its content, its header or its
// delimiter. Call it again with these bytes and those that follow, as a loop does with the bytes
// that Data does not consume. A loop's Config.MaxUnreadBytes, by default 1 MiB, must be at least
// MaxEncodedBytes of the format; otherwise the connection is closed with loop.ErrUnreadFull before
// a long frame is complete.
//
// If a frame arrives in many parts, Prefixed and Varint decode its header again for each part, and
// Delimited searches the bytes again from the start. Searching 64 KiB takes about a microsecond,
// which is no longer than receiving a part. If MaxBytes is higher than that, use a Scanner for each
// stream, which remembers how far it has searched.
//
// What remains at the end of the stream is an incomplete frame, such as a last line without a
// newline. It is not delivered.
//
// # Errors
//
// After an error the stream cannot be interpreted any more: Data should return the error, which
// closes the connection. Next, Header and Each return a *TooLongError or a *HeaderError for what
// was received; Append and AppendHeader return a *TooLongError or a *DelimiterError for what was to
// be encoded; an invalid format is an error that wraps ErrBadArgument. The errors, and the frames
// before them, do not depend on the parts in which the stream arrives.
//
// Several goroutines may use a format at the same time, unless one of them changes its fields. A
// Scanner belongs to one stream and must not be used concurrently.
package frame
