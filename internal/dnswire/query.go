package dnswire

import (
	"encoding/binary"
	"errors"
)

// Sizes of messages, in octets.
const (
	MaxMessageBytes = 65535 // the length prefix of TCP has 16 bits
	MaxQueryBytes   = headerBytes + MaxNameBytes + 4 + optBytes
	// MinUDPBytes is the largest response over UDP without EDNS; also the least that EDNS may announce.
	MinUDPBytes = 512

	headerBytes = 12
	optBytes    = 11
)

// ErrBadQuestion means that a question cannot be asked: its Name is not one that ParseName
// returns, or its type is not one that records have, such as 255 (ANY).
var ErrBadQuestion = errors.New("invalid question")

// A Case inverts the case of letters of a name, so that a forged response must guess it, too
// ("0x20"). Bit i of word i/64 stands for octet i of the name in wire format; bits of octets that
// are not letters have no effect. The zero value leaves the name as it is. Its bits must be random and
// fresh for each query.
type Case [4]uint64

// apply returns octet c of index i of a name, with its case inverted if c says so.
func (k *Case) apply(c byte, i int) byte {
	if l := c | 0x20; 'a' <= l && l <= 'z' && k[i/64]>>(i%64)&1 != 0 {
		c ^= 0x20
	}
	return c
}

// QueryOptions are the parts of a query besides its question.
type QueryOptions struct {
	RecursionDesired bool
	// TrustAD sets the bit AD, which asks the server to report in it whether the answer is
	// authentic (RFC 6840, section 5.7).
	TrustAD bool
	// EDNSSize is the largest response over UDP, in octets, that the sender takes, at least
	// MinUDPBytes: lower values mean that. 0 sends no OPT record, for servers without EDNS (RFC 6891).
	EDNSSize uint16
	Case     Case
}

// Bits of the second 16-bit word of a header.
const (
	bitQR      = 1 << 15
	maskOpcode = 15 << 11
	bitAA      = 1 << 10
	bitTC      = 1 << 9
	bitRD      = 1 << 8
	bitRA      = 1 << 7
	bitAD      = 1 << 5
	maskRcode  = 15
)

// AppendQuery appends a query to b. It appends at most MaxQueryBytes, and nothing with an error,
// which wraps ErrBadQuestion. It allocates only to grow b.
func AppendQuery(b []byte, id uint16, q Question, o QueryOptions) ([]byte, error) {
	if err := q.Check(); err != nil {
		return b, err
	}
	var flags, additional uint16
	if o.RecursionDesired {
		flags |= bitRD
	}
	if o.TrustAD {
		flags |= bitAD
	}
	if o.EDNSSize > 0 {
		additional = 1
	}
	for _, word := range [...]uint16{id, flags, 1, 0, 0, additional} {
		b = binary.BigEndian.AppendUint16(b, word)
	}
	for i := range len(q.Name) {
		b = append(b, o.Case.apply(q.Name[i], i))
	}
	b = binary.BigEndian.AppendUint16(b, uint16(q.Type))
	b = binary.BigEndian.AppendUint16(b, classIN)
	if o.EDNSSize > 0 {
		b = append(b, 0) // the owner of OPT is the root
		b = binary.BigEndian.AppendUint16(b, uint16(typeOPT))
		b = binary.BigEndian.AppendUint16(b, max(o.EDNSSize, MinUDPBytes))
		b = append(b, 0, 0, 0, 0, 0, 0) // extended code, version 0, flags, no options
	}
	return b, nil
}
