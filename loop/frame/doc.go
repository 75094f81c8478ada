// Package frame finds messages in a stream of bytes: in what Data of a loop's handler gets, or in
// any other []byte. It has three formats:
//
//   - Delimited: a frame ends with a delimiter, such as a newline. Lines returns the format of
//     lines that end with LF or CRLF.
//   - Prefixed: the frame's length precedes it, in 1, 2, 3, 4 or 8 bytes.
//   - Varint: the frame's length precedes it as an unsigned varint, as protobuf and
//     encoding/binary encode it.
//
// Each has a maximum length for frames, and encodes frames, too (Append). In a handler, Each
// calls a function for every complete frame, and returns what Data must return:
//
//	var lines = frame.Lines(4096)
//
//	func (s *session) Data(c *loop.Conn, b []byte) (consumed int, err error) {
//		return frame.Each(lines, b, func(line []byte) error { return s.command(c, line) })
//	}
//
// A handler that stops after a frame, for example because it has called Pause, calls Next in a
// loop of its own, or returns ErrStop from the function. One that does not want to have a long
// frame in memory as a whole decodes only its length, by Header of Prefixed and Varint.
//
// A frame is a part of the bytes that were given, and is valid for as long as they are: in Data,
// until Data returns. No function here copies or allocates anything, except to return an error
// or to append to a slice that is too short. The capacity of a frame is its length, so
// appending to a frame does not overwrite what follows it.
//
// # Frames in parts
//
// Next returns 0 if the bytes end before the frame does, at any place: in the frame, its header
// or its delimiter. Call it again with these bytes and those that follow them, as a loop does
// with what Data leaves. So a loop's Config.MaxUnreadBytes, by default 1 MiB, must be at least
// MaxEncodedBytes of the format: or a connection is closed with loop.ErrUnreadFull before a long
// frame is complete.
//
// If a frame arrives in many parts, Prefixed and Varint only decode its header again each
// time, but Delimited searches the bytes again from their beginning. To search 64 KiB takes about a
// microsecond, no longer than to receive a part. If MaxBytes is higher than that, use a Scanner
// for each stream, which remembers how far it has searched.
//
// What remains at the end of the stream is an incomplete frame, and is not delivered: also a
// last line without a newline.
//
// # Errors
//
// After an error the stream cannot be interpreted any more: Data should return the error, which
// closes the connection. The errors are *TooLongError and *HeaderError of what was received,
// *TooLongError and *DelimiterError of what was to be encoded, and errors that wrap
// ErrBadArgument if a format is invalid. They and the frames before them do not depend on the
// parts in which the stream arrives.
//
// Formats may be used by several goroutines at the same time, unless one of them changes their
// fields. A Scanner belongs to one stream.
package frame
