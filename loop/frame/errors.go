package frame

import "fmt"

// A TooLongError is the error for a frame that is longer than its format allows.
type TooLongError struct {
	// Format is the name of the format's type, "Delimited", "Prefixed" or "Varint".
	Format string
	// Bytes is the length of the frame without header and delimiter, or 0 if it is not known,
	// because a received frame ends with a delimiter.
	Bytes uint64
	// MaxBytes is the format's maximum, or less if its header cannot express that.
	MaxBytes int
}

// Error implements error.
func (e *TooLongError) Error() string {
	if e.Bytes == 0 {
		return fmt.Sprintf("frame: %s: no delimiter after %d bytes, the maximum; raise MaxBytes if longer frames are valid", e.Format, e.MaxBytes)
	}
	return fmt.Sprintf("frame: %s: a frame of %d bytes; the maximum is %d; raise it if such frames are valid", e.Format, e.Bytes, e.MaxBytes)
}

// A HeaderError is the error for a received header that is invalid: a varint of more than 64 bits, or
// a length that should include the header and is less than the header's.
type HeaderError struct {
	// Format is the name of the format's type, "Prefixed" or "Varint".
	Format string
	// Header has the bytes of the header, at most 10.
	Header []byte
	// Reason is the rule that the header breaks.
	Reason string
}

// Error implements error.
func (e *HeaderError) Error() string {
	return fmt.Sprintf("frame: %s: the header % x is invalid: %s; the peer uses another format", e.Format, e.Header, e.Reason)
}

// A DelimiterError is the error of Delimited.Append for a payload whose end the receiver would not
// find, such as one that contains the delimiter: the rest of it would be another frame.
type DelimiterError struct {
	// Delimiter is that of the format.
	Delimiter string
	// Bytes is the length of the payload, and End the number of its bytes that the receiver would
	// take as the frame.
	Bytes, End int
}

// Error implements error.
func (e *DelimiterError) Error() string {
	return fmt.Sprintf("frame: Delimited: the payload has %d bytes, but with the delimiter %q the frame would end after %d; encode the payload, or use a format with a length", e.Bytes, e.Delimiter, e.End)
}
