package dnswire

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A Record is a resource record of class IN. Which of the fields after TTL are set depends on its type.
type Record struct {
	Name Name // the owner
	Type Type
	TTL  time.Duration // whole seconds

	Addr       netip.Addr // A, AAAA
	Target     Name       // CNAME, NS, PTR, MX, SRV
	Preference uint16     // MX; the priority of SRV
	Weight     uint16     // SRV
	Port       uint16     // SRV
	Text       []string   // TXT: any octets; DataString escapes them
	SOA        *SOA       // SOA
	Data       []byte     // other types: a copy of the RDATA
}

// SOA is the data of an SOA record. Its times are whole seconds.
type SOA struct {
	Primary, Mailbox                        Name
	Serial                                  uint32
	Refresh, Retry, Expire, NegativeMinimum time.Duration
}

// String returns r as a line of a zone file, in one line and printable whatever a peer has sent.
func (r *Record) String() string {
	return fmt.Sprintf("%v %d IN %v %s", r.Name, r.TTL/time.Second, r.Type, r.DataString())
}

// DataString returns the data of r as in a zone file, printable whatever a peer has sent.
func (r *Record) DataString() string {
	switch r.Type {
	case TypeA, TypeAAAA:
		return r.Addr.String()
	case TypeCNAME, TypeNS, TypePTR:
		return r.Target.String()
	case TypeMX:
		return fmt.Sprintf("%d %v", r.Preference, r.Target)
	case TypeSRV:
		return fmt.Sprintf("%d %d %d %v", r.Preference, r.Weight, r.Port, r.Target)
	case TypeTXT:
		return quoteTexts(r.Text)
	case TypeSOA:
		s := r.SOA
		return fmt.Sprintf("%v %v %d %d %d %d %d", s.Primary, s.Mailbox, s.Serial,
			s.Refresh/time.Second, s.Retry/time.Second, s.Expire/time.Second, s.NegativeMinimum/time.Second)
	}
	if len(r.Data) == 0 {
		return `\# 0`
	}
	return fmt.Sprintf(`\# %d %X`, len(r.Data), r.Data) // RFC 3597, section 5
}

func quoteTexts(texts []string) string {
	var b []byte
	for i, text := range texts {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, '"')
		for j := range len(text) {
			if c := text[j]; c == '"' || c == '\\' {
				b = append(b, '\\', c)
			} else {
				b = appendOctet(b, c, false)
			}
		}
		b = append(b, '"')
	}
	return string(b)
}

// sameData reports whether r and s, of one owner and type, have the same data (RFC 2181, section 5).
func (r *Record) sameData(s *Record) bool {
	switch r.Type {
	case TypeA, TypeAAAA:
		return r.Addr == s.Addr
	case TypeSOA:
		return *r.SOA == *s.SOA
	case TypeTXT:
		return quoteTexts(r.Text) == quoteTexts(s.Text)
	}
	return r.Target.EqualFold(s.Target) && r.Preference == s.Preference && r.Weight == s.Weight && r.Port == s.Port &&
		string(r.Data) == string(s.Data)
}

// decode decodes the record raw, whose owner is name.
func (m message) decode(raw *rawRecord, name Name) (Record, error) {
	r := Record{Name: name, Type: Type(raw.typ), TTL: seconds(raw.seconds())}
	d := decoder{m: m, at: raw.data, end: raw.dataEnd}
	switch r.Type {
	case TypeA:
		if b := d.octets(4); b != nil {
			r.Addr = netip.AddrFrom4([4]byte(b))
		}
	case TypeAAAA:
		if b := d.octets(16); b != nil {
			r.Addr = netip.AddrFrom16([16]byte(b))
		}
	case TypeCNAME, TypeNS, TypePTR:
		r.Target = d.name()
	case TypeMX:
		r.Preference, r.Target = d.uint16(), d.name()
	case TypeSRV:
		r.Preference, r.Weight, r.Port, r.Target = d.uint16(), d.uint16(), d.uint16(), d.name()
	case TypeTXT:
		r.Text = d.texts()
	case TypeSOA:
		r.SOA = &SOA{
			Primary: d.name(), Mailbox: d.name(), Serial: d.uint32(),
			Refresh: seconds(d.uint32()), Retry: seconds(d.uint32()), Expire: seconds(d.uint32()), NegativeMinimum: seconds(d.uint32()),
		}
	default:
		r.Data = append([]byte(nil), d.octets(d.end-d.at)...)
	}
	if d.err == nil && d.at != d.end {
		d.err = malformed(d.at, "RDLENGTH is too large for the type "+r.Type.String())
	}
	return r, d.err
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// A decoder reads RDATA. After an error, its methods return zero values.
type decoder struct {
	m       message
	at, end int // offsets: of the next octet, and after the RDATA
	err     error
}

// octets returns the next n octets, nil if there are fewer.
func (d *decoder) octets(n int) []byte {
	if d.err == nil && d.end-d.at < n {
		d.err = malformed(d.at, "RDLENGTH is too small for the type, or RDATA is cut")
	}
	if d.err != nil {
		return nil
	}
	d.at += n
	return d.m[d.at-n : d.at]
}

func (d *decoder) uint16() uint16 {
	if d.octets(2) == nil {
		return 0
	}
	return d.m.uint16(d.at - 2)
}

func (d *decoder) uint32() uint32 {
	if d.octets(4) == nil {
		return 0
	}
	return d.m.uint32(d.at - 4)
}

func (d *decoder) name() Name {
	if d.err != nil {
		return ""
	}
	var buf [MaxNameBytes]byte
	n, next, err := d.m.expandName(d.at, &buf)
	if err == nil && next > d.end {
		err = malformed(d.at, "name runs past the RDATA")
	}
	if err != nil {
		d.err = err
		return ""
	}
	d.at = next
	return Name(buf[:n])
}

func (d *decoder) texts() []string {
	count := 0
	for at := d.at; at < d.end; at += 1 + int(d.m[at]) {
		count++
	}
	texts := make([]string, 0, count)
	for d.err == nil && d.at < d.end {
		length := int(d.octets(1)[0])
		texts = append(texts, string(d.octets(length)))
	}
	return texts
}

// An ExtendedError explains an error or an answer (RFC 8914).
type ExtendedError struct {
	Code uint16
	Text string // any octets
}

// extendedErrorNames has the codes that a user can act on, or that are frequent.
var extendedErrorNames = map[uint16]string{
	0: "other error", 3: "stale answer", 6: "DNSSEC bogus", 7: "signature expired", 9: "DNSKEY missing", 13: "cached error",
	14: "not ready", 15: "blocked", 16: "censored", 17: "filtered", 18: "prohibited", 20: "not authoritative",
	22: "no reachable authority", 23: "network error",
}

// String returns the code, by name if it is known, and the text, quoted.
func (e ExtendedError) String() string {
	var b strings.Builder
	if name, ok := extendedErrorNames[e.Code]; ok {
		b.WriteString(name)
	} else {
		fmt.Fprintf(&b, "extended error %d", e.Code)
	}
	if e.Text != "" {
		b.WriteString(": " + strconv.QuoteToASCII(e.Text))
	}
	return b.String()
}
