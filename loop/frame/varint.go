package frame

import "encoding/binary"

// Varint is the format of frames that begin with their length, as an unsigned varint of
// encoding/binary: seven bits a byte, the lowest first, and in all bytes but the last the highest
// bit set. It is that of streams of protobuf messages. The content of a frame does not include the
// length.
type Varint struct {
	// MaxBytes is the maximum length of a frame without the varint, in bytes, from 1 to
	// MaxFrameBytes.
	MaxBytes int
}

// Next implements Format. The errors are those of Header.
func (v *Varint) Next(b []byte) (n int, frame []byte, err error) {
	header, payload, err := v.Header(b)
	n = header + payload
	if header == 0 || len(b) < n {
		return 0, nil, err
	}
	return n, b[header:n:n], nil
}

// Header decodes the length at the start of b, for handlers that do not wait for the whole frame.
// headerBytes is the size of the length, from 1 to 10, which may be more than necessary, as in
// protobuf; payloadBytes is the length of the frame that follows. Both are 0 if b ends before the
// length does. The error is a *TooLongError if the frame has more than MaxBytes bytes, and a
// *HeaderError if the length has more than 64 bits; it wraps ErrBadArgument if MaxBytes is out of
// range.
func (v *Varint) Header(b []byte) (headerBytes, payloadBytes int, err error) {
	if !validMax(v.MaxBytes) {
		return 0, 0, errMax("Varint", v.MaxBytes)
	}
	length, n := binary.Uvarint(b)
	switch {
	case n == 0 && len(b) < binary.MaxVarintLen64:
		return 0, 0, nil
	case n <= 0:
		return 0, 0, &HeaderError{
			Format: "Varint", Header: append([]byte(nil), b[:binary.MaxVarintLen64]...),
			Reason: "the length has more than 64 bits",
		}
	case length > uint64(v.MaxBytes):
		return 0, 0, v.tooLong(length)
	}
	return n, int(length), nil
}

// Append appends the length of payload and payload to dst, and returns the extended slice; with
// an error it returns dst. The errors are those of AppendHeader.
func (v *Varint) Append(dst, payload []byte) ([]byte, error) {
	b, err := v.AppendHeader(dst, len(payload))
	if err != nil {
		return dst, err
	}
	return append(b, payload...), nil
}

// AppendHeader appends to dst the length for a payload of payloadBytes, which the caller sends after
// it, and returns the extended slice; with an error it returns dst. The error is a *TooLongError if
// payloadBytes is more than MaxBytes; it wraps ErrBadArgument if payloadBytes is negative or
// MaxBytes is out of range.
func (v *Varint) AppendHeader(dst []byte, payloadBytes int) ([]byte, error) {
	switch {
	case !validMax(v.MaxBytes):
		return dst, errMax("Varint", v.MaxBytes)
	case payloadBytes < 0:
		return dst, errPayloadBytes(payloadBytes)
	case payloadBytes > v.MaxBytes:
		return dst, v.tooLong(uint64(payloadBytes))
	}
	return binary.AppendUvarint(dst, uint64(payloadBytes)), nil
}

// MaxEncodedBytes returns the length of the longest frame with its length, which has at most 10
// bytes: the minimum of loop.Config.MaxUnreadBytes. It panics if MaxBytes is out of range.
func (v *Varint) MaxEncodedBytes() int {
	if !validMax(v.MaxBytes) {
		panic(errMax("Varint", v.MaxBytes).Error())
	}
	return binary.MaxVarintLen64 + v.MaxBytes
}

func (v *Varint) tooLong(payloadBytes uint64) error {
	return &TooLongError{Format: "Varint", Bytes: payloadBytes, MaxBytes: v.MaxBytes}
}
