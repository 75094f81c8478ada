package dnswire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is matched by each *MalformedError.
var ErrMalformed = errors.New("malformed DNS message")

// A MalformedError reports a message that violates the format of RFC 1035.
type MalformedError struct {
	Offset  int // in the message, in octets
	Problem string
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("%v: at octet %d: %s", ErrMalformed, e.Offset, e.Problem)
}

func (e *MalformedError) Is(target error) bool { return target == ErrMalformed }

func malformed(offset int, problem string) error { return &MalformedError{offset, problem} }

// maxPointers bounds the compression pointers of a name. No name needs more: between two pointers is
// a label.
const maxPointers = MaxNameBytes / 2

// A message reads the octets of a message. Its methods check every offset.
type message []byte

func (m message) uint16(at int) uint16 { return binary.BigEndian.Uint16(m[at:]) }
func (m message) uint32(at int) uint32 { return binary.BigEndian.Uint32(m[at:]) }

// expandName appends the name at offset at to buf, without compression, and returns the offset after
// it. A pointer must point before the start of the labels that it ends: so it cannot loop.
func (m message) expandName(at int, buf *[MaxNameBytes]byte) (n, next int, err error) {
	start, pointers := at, 0
	for {
		if at >= len(m) {
			return 0, 0, malformed(at, "name runs past the end")
		}
		switch c := int(m[at]); {
		case c == 0:
			if pointers == 0 {
				next = at + 1
			}
			buf[n] = 0
			return n + 1, next, nil
		case c <= MaxLabelBytes:
			end := at + 1 + c
			if end > len(m) {
				return 0, 0, malformed(at, "label runs past the end")
			}
			if n+1+c >= MaxNameBytes { // the root label is still to come
				return 0, 0, malformed(at, "name is longer than 255 octets")
			}
			n += copy(buf[n:], m[at:end])
			at = end
		case c < 0xc0:
			return 0, 0, malformed(at, "label type is unknown")
		default:
			if at+2 > len(m) {
				return 0, 0, malformed(at, "compression pointer runs past the end")
			}
			if pointers == 0 {
				next = at + 2
			}
			target := int(m.uint16(at)) & 0x3fff
			if pointers++; target >= start || target < headerBytes || pointers > maxPointers {
				return 0, 0, malformed(at, "compression pointer does not point backwards, or is one of too many")
			}
			at, start = target, target
		}
	}
}

// skipName returns the offset after the name at offset at, and checks only the labels before
// its first pointer.
func (m message) skipName(at int) (next int, err error) {
	for start := at; ; {
		switch {
		case at >= len(m) || at-start >= MaxNameBytes:
			return 0, malformed(at, "name runs past the end or is longer than 255 octets")
		case m[at] == 0:
			return at + 1, nil
		case m[at] <= MaxLabelBytes:
			at += 1 + int(m[at])
		case m[at] < 0xc0:
			return 0, malformed(at, "label type is unknown")
		case at+2 > len(m):
			return 0, malformed(at, "compression pointer runs past the end")
		default:
			return at + 2, nil
		}
	}
}

// A rawRecord is where the parts of a record are in its message.
type rawRecord struct {
	owner         int // offset
	data, dataEnd int // offsets: of the RDATA, and after it
	ttl           uint32
	typ, class    uint16
}

// recordFixedBytes is the length of the fields between owner and RDATA.
const recordFixedBytes = 10

// rawRecord returns the record at offset at, whose RDATA is within the message.
func (m message) rawRecord(at int) (r rawRecord, next int, err error) {
	r.owner = at
	if at, err = m.skipName(at); err != nil {
		return r, 0, err
	}
	if at+recordFixedBytes > len(m) {
		return r, 0, malformed(at, "record runs past the end")
	}
	r.typ, r.class, r.ttl = m.uint16(at), m.uint16(at+2), m.uint32(at+4)
	r.data = at + recordFixedBytes
	if r.dataEnd = r.data + int(m.uint16(at+8)); r.dataEnd > len(m) {
		return r, 0, malformed(at+8, "RDLENGTH runs past the end")
	}
	return r, r.dataEnd, nil
}

// seconds returns the TTL of r. One with the highest bit set is 0 (RFC 2181, section 8).
func (r *rawRecord) seconds() uint32 {
	if r.ttl > 1<<31-1 {
		return 0
	}
	return r.ttl
}
