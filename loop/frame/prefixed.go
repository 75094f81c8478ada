package frame

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Prefixed is the format of frames that begin with their length, as an unsigned integer of fixed
// size. The content of a frame does not include the length.
type Prefixed struct {
	// LengthBytes is the size of the length: 1, 2, 3, 4 or 8 bytes.
	LengthBytes int
	// LittleEndian reports whether the first byte of the length is the lowest; by default it is
	// the highest (network byte order).
	LittleEndian bool
	// IncludesLength reports whether the length counts its own LengthBytes, too.
	IncludesLength bool
	// MaxBytes is the maximum length of a frame without its length, in bytes, from 1 to
	// MaxFrameBytes. It may be more than LengthBytes can express.
	MaxBytes int
}

// Next implements Format. The errors are those of Header.
func (p *Prefixed) Next(b []byte) (n int, frame []byte, err error) {
	header, payload, err := p.Header(b)
	n = header + payload
	if header == 0 || len(b) < n {
		return 0, nil, err
	}
	return n, b[header:n:n], nil
}

// Header decodes the length at the start of b, for handlers that do not wait for the whole frame.
// headerBytes is LengthBytes, and payloadBytes the length of the frame that follows; both are 0 if b
// ends before the length does. The error is a *TooLongError if the frame has more than MaxBytes
// bytes, and a *HeaderError if the length should include itself and is less than LengthBytes; it
// wraps ErrBadArgument if a field of p is out of range.
func (p *Prefixed) Header(b []byte) (headerBytes, payloadBytes int, err error) {
	if err := p.validate(); err != nil {
		return 0, 0, err
	}
	if len(b) < p.LengthBytes {
		return 0, 0, nil
	}
	length := p.length(b)
	if p.IncludesLength {
		if length < uint64(p.LengthBytes) {
			return 0, 0, p.headerError(b[:p.LengthBytes], length)
		}
		length -= uint64(p.LengthBytes)
	}
	if length > uint64(p.MaxBytes) {
		return 0, 0, &TooLongError{Format: "Prefixed", Bytes: length, MaxBytes: p.effectiveMax()}
	}
	return p.LengthBytes, int(length), nil
}

// length decodes the length at the start of b.
func (p *Prefixed) length(b []byte) uint64 {
	switch p.LengthBytes {
	case 1:
		return uint64(b[0])
	case 2:
		if p.LittleEndian {
			return uint64(binary.LittleEndian.Uint16(b))
		}
		return uint64(binary.BigEndian.Uint16(b))
	case 3:
		if p.LittleEndian {
			return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16
		}
		return uint64(b[2]) | uint64(b[1])<<8 | uint64(b[0])<<16
	case 4:
		if p.LittleEndian {
			return uint64(binary.LittleEndian.Uint32(b))
		}
		return uint64(binary.BigEndian.Uint32(b))
	default:
		if p.LittleEndian {
			return binary.LittleEndian.Uint64(b)
		}
		return binary.BigEndian.Uint64(b)
	}
}

// Append appends the length of payload and payload to dst, and returns the extended slice; with
// an error it returns dst. The errors are those of AppendHeader.
func (p *Prefixed) Append(dst, payload []byte) ([]byte, error) {
	b, err := p.AppendHeader(dst, len(payload))
	if err != nil {
		return dst, err
	}
	return append(b, payload...), nil
}

// AppendHeader appends to dst the length for a payload of payloadBytes, which the caller sends after
// it, and returns the extended slice; with an error it returns dst. The error is a *TooLongError if
// payloadBytes is more than MaxBytes or than LengthBytes can express; it wraps ErrBadArgument if
// payloadBytes is negative or a field of p is out of range.
func (p *Prefixed) AppendHeader(dst []byte, payloadBytes int) ([]byte, error) {
	if err := p.validate(); err != nil {
		return dst, err
	}
	if payloadBytes < 0 {
		return dst, errPayloadBytes(payloadBytes)
	}
	if limit := p.effectiveMax(); payloadBytes > limit {
		return dst, &TooLongError{Format: "Prefixed", Bytes: uint64(payloadBytes), MaxBytes: limit}
	}
	length := uint64(payloadBytes)
	if p.IncludesLength {
		length += uint64(p.LengthBytes)
	}
	for i := range p.LengthBytes {
		at := i
		if !p.LittleEndian {
			at = p.LengthBytes - 1 - i
		}
		dst = append(dst, byte(length>>(8*at)))
	}
	return dst, nil
}

// effectiveMax returns the length of the longest payload that MaxBytes allows and the length can
// express.
func (p *Prefixed) effectiveMax() int {
	limit := uint64(math.MaxUint64) >> (64 - 8*p.LengthBytes)
	if p.IncludesLength {
		limit -= uint64(p.LengthBytes)
	}
	return int(min(limit, uint64(p.MaxBytes)))
}

// MaxEncodedBytes returns the length of the longest frame with its length, in bytes: the minimum of
// loop.Config.MaxUnreadBytes. It panics if a field of p is out of range.
func (p *Prefixed) MaxEncodedBytes() int {
	must(p.validate())
	return p.LengthBytes + p.effectiveMax()
}

func (p *Prefixed) headerError(header []byte, length uint64) error {
	return &HeaderError{
		Format: "Prefixed", Header: append([]byte(nil), header...),
		Reason: fmt.Sprintf("the length is %d, but includes its own %d bytes", length, p.LengthBytes),
	}
}

func (p *Prefixed) validate() error {
	switch p.LengthBytes {
	case 1, 2, 3, 4, 8:
	default:
		return fmt.Errorf("frame: %w: Prefixed.LengthBytes is %d; it must be 1, 2, 3, 4 or 8", ErrBadArgument, p.LengthBytes)
	}
	if !validMax(p.MaxBytes) {
		return errMax("Prefixed", p.MaxBytes)
	}
	return nil
}
