package websocket

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// An Opcode is the type of a frame (RFC 6455, 5.2).
type Opcode byte

// The opcodes that exist. Others are reserved, and refused.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

func (o Opcode) isControl() bool { return o&0x8 != 0 }

func (o Opcode) isKnown() bool { return o <= Binary || o >= Close && o <= Pong }

const (
	// MaxHeaderBytes is the length of the longest header of a server's frame, which has no mask.
	MaxHeaderBytes = 2 + 8
	// MaxControlBytes is the length of the longest payload of a Close, Ping or Pong frame.
	MaxControlBytes = 125

	maskBytes = 4

	finBit      = 0x80
	reservedBit = 0x70
	opcodeBits  = 0x0F
	maskBit     = 0x80
	lengthBits  = 0x7F

	length16 = 126 // a length of 16 bits follows
	length64 = 127 // a length of 64 bits follows
)

// header is the header of a received frame.
type header struct {
	opcode Opcode
	fin    bool
	mask   [maskBytes]byte // zero without a mask
	length int64           // of the payload, in bytes
}

// parseHeader decodes the header at the beginning of b, and returns its length, or 0 if b has only
// a part of it. masked is whether the peer must mask: a client must, and a server must not.
func parseHeader(b []byte, masked bool) (h header, n int, err error) {
	if len(b) < 2 {
		return header{}, 0, nil
	}
	h.opcode, h.fin = Opcode(b[0]&opcodeBits), b[0]&finBit != 0
	h.length, n = int64(b[1]&lengthBits), 2
	switch {
	case b[0]&reservedBit != 0:
		return header{}, 0, errReservedBits
	case !h.opcode.isKnown():
		return header{}, 0, errReservedOpcode
	case masked && b[1]&maskBit == 0:
		return header{}, 0, errNotMasked
	case !masked && b[1]&maskBit != 0:
		return header{}, 0, errMasked
	case h.opcode.isControl() && !h.fin:
		return header{}, 0, errFragmentedControl
	case h.opcode.isControl() && h.length > MaxControlBytes:
		return header{}, 0, errLongControl
	}
	switch h.length {
	case length16:
		if len(b) < n+2 {
			return header{}, 0, nil
		}
		if h.length = int64(binary.BigEndian.Uint16(b[n:])); h.length < length16 {
			return header{}, 0, errLength
		}
		n += 2
	case length64:
		if len(b) < n+8 {
			return header{}, 0, nil
		}
		length := binary.BigEndian.Uint64(b[n:])
		if length <= math.MaxUint16 || length > math.MaxInt64 {
			return header{}, 0, errLength
		}
		h.length = int64(length)
		n += 8
	}
	if masked {
		if len(b) < n+maskBytes {
			return header{}, 0, nil
		}
		n += copy(h.mask[:], b[n:])
	}
	return h, n, nil
}

// applyMask masks or unmasks b, the part of a payload that begins at position at.
func applyMask(b []byte, mask [maskBytes]byte, at int) {
	m := bits.RotateLeft32(binary.LittleEndian.Uint32(mask[:]), -8*(at%maskBytes)) // its first byte is that for b[0]
	w := uint64(m)<<32 | uint64(m)
	for len(b) >= 32 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^w)
		binary.LittleEndian.PutUint64(b[8:], binary.LittleEndian.Uint64(b[8:])^w)
		binary.LittleEndian.PutUint64(b[16:], binary.LittleEndian.Uint64(b[16:])^w)
		binary.LittleEndian.PutUint64(b[24:], binary.LittleEndian.Uint64(b[24:])^w)
		b = b[32:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^w)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(w >> (8 * i))
	}
}

// AppendHeader appends the header of a server's frame that is a whole message, or a control frame,
// of length bytes.
func AppendHeader(dst []byte, o Opcode, length int) []byte { return appendHeader(dst, o, length, 0) }

func appendHeader(dst []byte, o Opcode, length int, mask byte) []byte {
	switch {
	case length < length16:
		return append(dst, finBit|byte(o), mask|byte(length))
	case length <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, finBit|byte(o), mask|length16), uint16(length))
	default:
		return binary.BigEndian.AppendUint64(append(dst, finBit|byte(o), mask|length64), uint64(length))
	}
}

// AppendFrame appends a server's frame: a whole message, or a control frame, whose payload has at
// most MaxControlBytes.
func AppendFrame(dst []byte, o Opcode, payload []byte) []byte {
	return append(AppendHeader(dst, o, len(payload)), payload...)
}

// AppendMasked is AppendFrame for a client, which masks its frames. The mask must be unpredictable
// for the author of the payload (RFC 6455, 5.3).
func AppendMasked(dst []byte, o Opcode, payload []byte, mask [maskBytes]byte) []byte {
	dst = append(appendHeader(dst, o, len(payload), maskBit), mask[:]...)
	dst = append(dst, payload...)
	applyMask(dst[len(dst)-len(payload):], mask, 0)
	return dst
}
