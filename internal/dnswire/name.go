package dnswire

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Limits of RFC 1035, section 2.3.4.
const (
	MaxLabelBytes = 63
	MaxNameBytes  = 255 // in wire format, the length octets and the root label included
)

// Why a text is not a domain name. They are wrapped by a *NameError.
var (
	ErrEmptyName    = errors.New("name is empty")
	ErrEmptyLabel   = errors.New("empty label: two dots in succession, or one at the start")
	ErrLabelTooLong = fmt.Errorf("label is longer than %d octets", MaxLabelBytes)
	ErrNameTooLong  = fmt.Errorf("name is longer than %d octets in wire format", MaxNameBytes)
	ErrBadEscape    = errors.New(`invalid escape; use \DDD, at most \255, or \ and the character itself`)
)

// A NameError reports a text that is not a domain name.
type NameError struct {
	Text string
	Err  error // one of the errors above
}

func (e *NameError) Error() string {
	return fmt.Sprintf("domain name %s: %v", quoteBounded(e.Text), e.Err)
}

func (e *NameError) Unwrap() error { return e.Err }

// A Name is a domain name in wire format, without compression: labels, each after an octet with its
// length, and the empty label of the root. Its zero value is no name. Labels have any octets (RFC
// 2181, section 11). Two equal Names may differ in case: compare by EqualFold, or use Fold for keys
// of maps.
type Name string

// Root is the name of the root, ".".
const Root Name = "\x00"

// ParseName parses a name in presentation format (RFC 1035, section 5.1; RFC 4343, section 2.1): a
// backslash escapes the next character, \DDD is an octet in decimal. A name is always taken as
// fully qualified: the final dot is optional. Other octets stand for themselves: international
// names must be converted to ASCII before. The error is a *NameError.
func ParseName(text string) (Name, error) {
	n, err := parseName(text)
	if err != nil {
		return "", &NameError{text, err}
	}
	return n, nil
}

func parseName(text string) (Name, error) {
	switch text {
	case "":
		return "", ErrEmptyName
	case ".":
		return Root, nil
	}
	var buf [MaxNameBytes]byte
	label, at := 0, 1 // buf[label] is the length of the label whose next octet is buf[at]
	for i := 0; i < len(text); {
		c, size := text[i], 1
		dot := c == '.'
		if c == '\\' {
			if c, size = unescape(text[i:]); size == 0 {
				return "", ErrBadEscape
			}
		}
		i += size
		switch length := at - label - 1; {
		case dot && length == 0:
			return "", ErrEmptyLabel
		case dot:
			buf[label] = byte(length)
			label = at
		case length == MaxLabelBytes:
			return "", ErrLabelTooLong
		default:
			buf[at] = c
		}
		// The root label is still to come, unless this dot was the last: then its length is at label.
		if at++; at == MaxNameBytes && !(dot && i == len(text)) {
			return "", ErrNameTooLong
		}
	}
	if length := at - label - 1; length > 0 {
		buf[label] = byte(length)
		label = at
	}
	return Name(buf[:label+1]), nil // buf[label] is 0
}

// unescape decodes the escape at the start of s. size is 0 if it is invalid.
func unescape(s string) (c byte, size int) {
	isDigit := func(i int) bool { return i < len(s) && '0' <= s[i] && s[i] <= '9' }
	switch {
	case len(s) < 2:
		return 0, 0
	case !isDigit(1):
		return s[1], 2
	case !isDigit(2) || !isDigit(3):
		return 0, 0
	}
	octet := int(s[1]-'0')*100 + int(s[2]-'0')*10 + int(s[3]-'0')
	if octet > 255 {
		return 0, 0
	}
	return byte(octet), 4
}

// String returns n in presentation format, with the final dot. Characters with a meaning in zone
// files are escaped, and so are all octets that are not printable ASCII: the text of any name that a
// peer has sent is safe to display. ParseName(n.String()) returns n.
func (n Name) String() string {
	switch n {
	case "":
		return ""
	case Root:
		return "."
	}
	b := make([]byte, 0, len(n)+8)
	for label := range n.labels {
		for i := range len(label) {
			switch c := label[i]; c {
			case '.', '\\', '"', '(', ')', ';', '@', '$':
				b = append(b, '\\', c)
			default:
				b = appendOctet(b, c, c == ' ')
			}
		}
		b = append(b, '.')
	}
	return string(b)
}

// appendOctet appends c, as \DDD if it is not printable ASCII, or if escape is true.
func appendOctet(b []byte, c byte, escape bool) []byte {
	if escape || c < ' ' || c > '~' {
		return append(b, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
	}
	return append(b, c)
}

// labels calls yield with each label but the root's, as range does.
func (n Name) labels(yield func(Name) bool) {
	for at := 0; at < len(n) && n[at] != 0; {
		end := at + 1 + int(n[at])
		if !yield(n[at+1 : end]) {
			return
		}
		at = end
	}
}

// valid reports whether n is a name in wire format within the limits, as all names are that
// ParseName and Parse return.
func (n Name) valid() bool {
	at := 0
	for at < len(n) && n[at] != 0 && n[at] <= MaxLabelBytes {
		at += 1 + int(n[at])
	}
	return at == len(n)-1 && n[at] == 0 && len(n) <= MaxNameBytes
}

// lower folds ASCII upper case, the only case that DNS ignores (RFC 4343). Length octets are at most
// 63, below the letters: whole names in wire format may be folded.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// Fold returns n in lower case. It does not allocate if n is in lower case.
func (n Name) Fold() Name {
	for i := range len(n) {
		if lower(n[i]) != n[i] {
			b := []byte(n)
			for j := i; j < len(b); j++ {
				b[j] = lower(b[j])
			}
			return Name(b)
		}
	}
	return n
}

// EqualFold reports whether n and m are the same name, whatever their case.
func (n Name) EqualFold(m Name) bool { return equalFold(n, m) }

// equalFold is EqualFold for names that may be in a buffer, without an allocation.
func equalFold[B ~string | ~[]byte](n Name, b B) bool {
	if len(n) != len(b) {
		return false
	}
	for i := range len(n) {
		if n[i] != b[i] && lower(n[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// Under reports whether n is zone or a name below it.
func (n Name) Under(zone Name) bool { return under(n, zone) }

func under[B ~string | ~[]byte](n Name, zone B) bool {
	for at := 0; at < len(n) && len(n)-at >= len(zone); at += 1 + int(n[at]) {
		if len(n)-at == len(zone) {
			return equalFold(n[at:], zone)
		}
	}
	return false
}

const hexDigits = "0123456789abcdef"

// ReverseName returns the name at which the PTR records of addr are: below in-addr.arpa (RFC 1035,
// section 3.5) or ip6.arpa (RFC 3596, section 2.5). An IPv4-mapped address is taken as IPv4; a zone
// is ignored. The result for the zero Addr is "".
func ReverseName(addr netip.Addr) Name {
	addr = addr.Unmap()
	var b strings.Builder
	octets := addr.AsSlice()
	for i := len(octets) - 1; i >= 0; i-- {
		if c := octets[i]; addr.Is4() {
			digits := strconv.Itoa(int(c))
			b.WriteByte(byte(len(digits)))
			b.WriteString(digits)
		} else {
			b.Write([]byte{1, hexDigits[c&0xf], 1, hexDigits[c>>4]})
		}
	}
	switch {
	case addr.Is4():
		b.WriteString("\x07in-addr\x04arpa\x00")
	case addr.Is6():
		b.WriteString("\x03ip6\x04arpa\x00")
	}
	return Name(b.String())
}

// maxQuotedBytes bounds what an error quotes of a text that may have any length.
const maxQuotedBytes = 300

func quoteBounded(text string) string {
	if len(text) > maxQuotedBytes {
		return fmt.Sprintf("%q (%d octets in all)", text[:maxQuotedBytes], len(text))
	}
	return fmt.Sprintf("%q", text)
}
