package dnswire

import (
	"fmt"
	"strconv"
	"strings"
)

// A Type is the type of a resource record.
type Type uint16

// The types whose records Parse decodes into fields. Records of other types have their octets in
// Record.Data (RFC 3597).
const (
	TypeA     Type = 1
	TypeNS    Type = 2
	TypeCNAME Type = 5
	TypeSOA   Type = 6
	TypePTR   Type = 12
	TypeMX    Type = 15
	TypeTXT   Type = 16
	TypeAAAA  Type = 28
	TypeSRV   Type = 33

	typeOPT Type = 41
)

var typeNames = map[Type]string{
	TypeA: "A", TypeNS: "NS", TypeCNAME: "CNAME", TypeSOA: "SOA", TypePTR: "PTR",
	TypeMX: "MX", TypeTXT: "TXT", TypeAAAA: "AAAA", TypeSRV: "SRV",
}

// String returns the mnemonic of t, or TYPE and the number (RFC 3597, section 5).
func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// ParseType is the inverse of String, whatever the case of s.
func ParseType(s string) (t Type, ok bool) {
	for t, name := range typeNames {
		if strings.EqualFold(s, name) {
			return t, true
		}
	}
	if len(s) < 4 || !strings.EqualFold(s[:4], "TYPE") {
		return 0, false
	}
	n, err := strconv.ParseUint(s[4:], 10, 16)
	return Type(n), err == nil
}

// ofData reports whether records of t exist: 0 is reserved, 41 is OPT, and 128 to 255 are for
// questions and for the protocol itself (RFC 6895, section 3.1).
func (t Type) ofData() bool { return t != 0 && t != typeOPT && (t < 128 || t > 255) }

// classIN is the class of the Internet. Others are not supported.
const classIN = 1

// An Rcode is the result that a server reports, extended by EDNS to 12 bits.
type Rcode uint16

// The codes of RFC 1035 and RFC 6891.
const (
	RcodeSuccess        Rcode = 0
	RcodeFormatError    Rcode = 1
	RcodeServerFailure  Rcode = 2
	RcodeNXDomain       Rcode = 3
	RcodeNotImplemented Rcode = 4
	RcodeRefused        Rcode = 5
	RcodeBadVersion     Rcode = 16
)

var rcodeNames = map[Rcode]string{
	RcodeSuccess: "NOERROR", RcodeFormatError: "FORMERR", RcodeServerFailure: "SERVFAIL", RcodeNXDomain: "NXDOMAIN",
	RcodeNotImplemented: "NOTIMP", RcodeRefused: "REFUSED", RcodeBadVersion: "BADVERS",
}

// String returns the mnemonic of r, or RCODE and the number.
func (r Rcode) String() string {
	if s, ok := rcodeNames[r]; ok {
		return s
	}
	return "RCODE" + strconv.Itoa(int(r))
}

// A Question asks for the records of a type at a name, in the class IN.
type Question struct {
	Name Name
	Type Type
}

// String returns the name and the type.
func (q Question) String() string { return q.Name.String() + " " + q.Type.String() }

// Check returns an error that wraps ErrBadQuestion if q cannot be asked.
func (q Question) Check() error {
	if !q.Name.valid() || !q.Type.ofData() {
		return fmt.Errorf("%w: %d octets of name, type %v", ErrBadQuestion, len(q.Name), q.Type)
	}
	return nil
}
