package dnswire

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// fuzzQuestion returns a valid question for fuzzed messages: that of the message, or if it has none a fixed
// one. So mutations of the question do not lead nowhere.
func fuzzQuestion(msg []byte) Question {
	q := Question{"\x03www\x07example\x03com\x00", TypeA}
	if len(msg) <= headerBytes {
		return q
	}
	var buf [MaxNameBytes]byte
	n, next, err := message(msg).expandName(headerBytes, &buf)
	if err != nil || next+2 > len(msg) {
		return q
	}
	own := Question{Name(buf[:n]), Type(binary.BigEndian.Uint16(msg[next:]))}
	if !own.Type.ofData() {
		own.Type = TypeA
	}
	return own
}

func FuzzParse(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		q := fuzzQuestion(msg)
		original := bytes.Clone(msg)
		r, err := Parse(msg, q)
		if !bytes.Equal(msg, original) {
			t.Fatal("Parse changes the message")
		}
		if err != nil {
			if r.Records != nil || err.Error() == "" {
				t.Fatalf("%s with the error %v", describe(r), err)
			}
			return
		}
		checkChain(t, q, &r)
		compareWithDNSMessage(t, msg, q, &r)
		if v := Match(msg, &Sent{ID: binary.BigEndian.Uint16(msg), Question: q}); v != Matched && v != CaseLost && v != QuestionMissing {
			t.Fatalf("Parse takes a message that Match refuses: %v", v)
		}
	})
}

// checkChain checks what Response promises.
func checkChain(t *testing.T, q Question, r *Response) {
	t.Helper()
	if (r.Kind == Positive) != (len(r.Answers()) > 0) || r.Aliases > MaxChain {
		t.Fatalf("%v with %d answers and %d aliases", r.Kind, len(r.Answers()), r.Aliases)
	}
	name := q.Name
	for i := range r.Records {
		rec := &r.Records[i]
		if !rec.Name.EqualFold(name) || rec.TTL < r.TTL {
			t.Fatalf("record %d, %v, is not of %v, or its TTL is below that of the response, %v", i, rec, name, r.TTL)
		}
		switch {
		case i >= r.Aliases && rec.Type != q.Type, i < r.Aliases && rec.Type != TypeCNAME:
			t.Fatalf("record %d of %d aliases: %v; the type of the question is %v", i, r.Aliases, rec, q.Type)
		case i < r.Aliases:
			name = rec.Target
		}
		if rec.Target != "" && !rec.Target.valid() {
			t.Fatalf("record %d has the invalid name %q", i, string(rec.Target))
		}
		for _, c := range []byte(rec.String()) {
			if c < ' ' || c > '~' {
				t.Fatalf("the text of record %d is not printable ASCII: %q", i, rec.String())
			}
		}
	}
	if !r.Canonical.EqualFold(name) || !r.Canonical.valid() {
		t.Fatalf("the canonical name is %v, want %v", r.Canonical, name)
	}
}

// compareWithDNSMessage checks each answer against x/net's parser, which decodes all records of a
// message without judging them. Where it fails, because of a dot in a label or of a record that does
// not matter, there is nothing to compare.
func compareWithDNSMessage(t *testing.T, msg []byte, q Question, r *Response) {
	t.Helper()
	var m dnsmessage.Message
	if m.Unpack(msg) != nil {
		return
	}
	known := map[string]int{}
	for i := range m.Answers {
		if h := &m.Answers[i].Header; h.Class == dnsmessage.ClassINET {
			if owner, err := ParseName(escapeNothing(h.Name.String())); err == nil {
				known[owner.Fold().String()+Type(h.Type).String()]++
			}
		}
	}
	for i := range r.Records {
		key := r.Records[i].Name.Fold().String() + r.Records[i].Type.String()
		if known[key]--; known[key] < 0 {
			t.Fatalf("x/net finds no record like %v", &r.Records[i])
		}
	}
	if answers := r.Answers(); r.Kind == Positive && len(answers) > 0 {
		for i := range answers {
			if !hasRecord(&m, &answers[i]) {
				t.Fatalf("x/net does not find the data of %v in %v", &answers[i], m.Answers)
			}
		}
	}
	if r.Kind == NoData && r.Aliases == 0 {
		if n := known[q.Name.Fold().String()+q.Type.String()]; n > 0 {
			t.Fatalf("x/net finds %d records of %v", n, q)
		}
	}
}

// escapeNothing returns the presentation format of a name as x/net has it: without escapes.
func escapeNothing(text string) string {
	return string(bytes.ReplaceAll([]byte(text), []byte(`\`), []byte(`\\`)))
}

func hasRecord(m *dnsmessage.Message, r *Record) bool {
	same := func(n dnsmessage.Name) bool {
		name, err := ParseName(escapeNothing(n.String()))
		return err == nil && name == r.Target
	}
	for i := range m.Answers {
		switch b := m.Answers[i].Body.(type) {
		case *dnsmessage.AResource:
			if r.Type == TypeA && r.Addr.As4() == b.A {
				return true
			}
		case *dnsmessage.AAAAResource:
			if r.Type == TypeAAAA && r.Addr.As16() == b.AAAA {
				return true
			}
		case *dnsmessage.MXResource:
			if r.Type == TypeMX && r.Preference == b.Pref && same(b.MX) {
				return true
			}
		case *dnsmessage.SRVResource:
			if r.Type == TypeSRV && r.Preference == b.Priority && r.Weight == b.Weight && r.Port == b.Port && same(b.Target) {
				return true
			}
		case *dnsmessage.NSResource:
			if r.Type == TypeNS && same(b.NS) {
				return true
			}
		case *dnsmessage.PTRResource:
			if r.Type == TypePTR && same(b.PTR) {
				return true
			}
		case *dnsmessage.CNAMEResource:
			if r.Type == TypeCNAME && same(b.CNAME) {
				return true
			}
		case *dnsmessage.TXTResource:
			if r.Type == TypeTXT && quoteTexts(r.Text) == quoteTexts(b.TXT) {
				return true
			}
		case *dnsmessage.SOAResource:
			if r.Type == TypeSOA && r.SOA.Serial == b.Serial && uint32(r.SOA.NegativeMinimum.Seconds()) == b.MinTTL {
				return true
			}
		case *dnsmessage.UnknownResource:
			if r.Type == Type(b.Type) && bytes.Equal(r.Data, b.Data) {
				return true
			}
		default: // types that x/net decodes, and Parse does not
			return true
		}
	}
	return false
}

// Match accepts what repeats ID and question, however x/net decodes it, and nothing else.
func FuzzMatch(f *testing.F) {
	q := Question{"\x03www\x07example\x03com\x00", TypeAAAA}
	query, err := AppendQuery(nil, 0x1234, q, QueryOptions{EDNSSize: 1232, Case: Case{1 << 2}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(query)
	f.Add(asResponse(query))
	f.Add(asResponse(query[:headerBytes]))
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		verdict := Match(msg, &Sent{ID: 0x1234, Question: q, Case: Case{1 << 2}})
		var p dnsmessage.Parser
		h, err := p.Start(msg)
		if err != nil {
			if verdict != Garbled {
				t.Fatalf("%v, but x/net reads no header: %v", verdict, err)
			}
			return
		}
		sections, err := p.AllQuestions()
		repeats := err == nil && h.Response && h.OpCode == 0 && h.ID == 0x1234 && len(sections) == 1 &&
			sections[0].Type == dnsmessage.TypeAAAA && sections[0].Class == dnsmessage.ClassINET
		if repeats {
			name := mustName(t, escapeNothing(sections[0].Name.String()))
			repeats = name == "\x03wWw\x07example\x03com\x00"
		}
		if repeats != (verdict == Matched) {
			t.Fatalf("%v, but x/net reads %+v, %v, %v", verdict, h, sections, err)
		}
	})
}

func FuzzParseName(f *testing.F) {
	for _, text := range []string{".", "www.example.com", `My\.Printer\032(2)._ipp._tcp.local.`, `\000\255`, "a..b", `\`, `\25`, "\xff.\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseName(text)
		if err != nil {
			return
		}
		if !n.valid() {
			t.Fatalf("ParseName(%q) = %q, which is invalid", text, string(n))
		}
		if back, err := ParseName(n.String()); err != nil || back != n {
			t.Fatalf("%q prints as %q, which parses as %q, %v", string(n), n.String(), string(back), err)
		}
		if folded := n.Fold(); !folded.valid() || !folded.EqualFold(n) || folded.Fold() != folded || !n.Under(folded) || !n.Under(Root) {
			t.Fatalf("%q folds to %q", string(n), string(folded))
		}
	})
}

// A query is what x/net reads as one, and its own response matches it.
func FuzzAppendQuery(f *testing.F) {
	f.Add("www.example.com", uint16(TypeA), uint16(1232), uint64(1))
	f.Add(`My\.Printer._ipp._tcp.local.`, uint16(TypeSRV), uint16(0), uint64(2))
	f.Add(".", uint16(TypeNS), uint16(7), uint64(3))
	f.Fuzz(func(t *testing.T, text string, typ, size uint16, seed uint64) {
		name, err := ParseName(text)
		if err != nil {
			return
		}
		r := rand.New(rand.NewPCG(seed, 0))
		o := QueryOptions{RecursionDesired: seed&1 != 0, EDNSSize: size, Case: randomCase(r)}
		id, q := uint16(r.Uint32()), Question{name, Type(typ)}
		b, err := AppendQuery(nil, id, q, o)
		if err != nil {
			if q.Type.ofData() || b != nil {
				t.Fatalf("AppendQuery(%v) = %x, %v", q, b, err)
			}
			return
		}
		if v := Match(asResponse(b), &Sent{ID: id, Question: q, Case: o.Case}); v != Matched || len(b) > MaxQueryBytes {
			t.Fatalf("a query of %d octets and its response: %v", len(b), v)
		}
		if got := fuzzQuestion(b); !got.Name.EqualFold(name) || got.Type != q.Type {
			t.Fatalf("the question is read as %v, want %v", got, q)
		}
		var p dnsmessage.Parser
		if h, err := p.Start(b); err != nil || h.ID != id || h.RecursionDesired != o.RecursionDesired || h.Response {
			t.Fatalf("x/net reads the header %+v, %v", h, err)
		}
	})
}

// seeds returns messages that reach the parts of Parse.
func seeds(t testing.TB) [][]byte {
	const name = "www.example.com"
	q := Question{mustName(t, name), TypeA}
	all := [][]byte{
		reply{q: q, flags: recursive, answer: []rr{cname(name, 60, "x.example"), a("x.example", 30, "192.0.2.1"), a("x.example", 30, "192.0.2.1"), a("off.example", 3, "192.0.2.2")}, additional: []rr{opt(0, "\x00\x0f\x00\x03\x00\x06x")}}.encode(),
		reply{q: q, flags: recursive | 3, authority: []rr{soa("example.com", 900, 300)}}.encode(),
		reply{q: q, flags: recursive, answer: []rr{cname(name, 9, "x"), cname("x", 9, name)}}.encode(),
		reply{q: q, flags: bitQR, authority: []rr{{owner: "com", typ: TypeNS, data: wire("ns.com")}}}.encode(),
		reply{q: q, flags: bitQR | 1, additional: []rr{opt(16, "")}}.encode(),
		reply{q: q, flags: bitQR | bitTC}.encode(),
	}
	for typ, data := range map[Type]string{
		TypeAAAA: "0123456789abcdef", TypePTR: "\x03ptr\xc0\x0c", TypeMX: "\x00\x0a\xc0\x0c", TypeTXT: "\x03abc\x00",
		TypeSRV: "\x00\x01\x00\x02\x00\x03\xc0\x0c", TypeSOA: soa("z", 0, 1).data, TypeNS: "\xc0\x0c", TypeCNAME: "\x00", 257: "\x00\x05issue",
	} {
		q := Question{q.Name, typ}
		all = append(all, reply{q: q, flags: recursive, answer: []rr{{owner: name, typ: typ, ttl: 60, data: data}}}.encode())
	}
	return all
}
