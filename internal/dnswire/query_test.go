package dnswire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// x/net's parser understands what AppendQuery encodes.
func TestAppendQuery(t *testing.T) {
	q := Question{mustName(t, "www.example.com"), TypeAAAA}
	b, err := AppendQuery([]byte("before"), 0xbeef, q, QueryOptions{RecursionDesired: true, TrustAD: true, EDNSSize: 1232})
	if err != nil {
		t.Fatal(err)
	}
	b, ok := bytes.CutPrefix(b, []byte("before"))
	if !ok {
		t.Fatalf("AppendQuery does not append: %q", b)
	}
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	if want := (dnsmessage.Header{ID: 0xbeef, RecursionDesired: true, AuthenticData: true}); m.Header != want {
		t.Errorf("header %#v, want %#v", m.Header, want)
	}
	want := dnsmessage.Question{Name: dnsmessage.MustNewName("www.example.com."), Type: dnsmessage.TypeAAAA, Class: dnsmessage.ClassINET}
	if len(m.Questions) != 1 || m.Questions[0] != want {
		t.Errorf("questions %v, want %v", m.Questions, want)
	}
	if len(m.Additionals) != 1 || m.Additionals[0].Header.Type != dnsmessage.TypeOPT || m.Additionals[0].Header.Class != 1232 ||
		m.Additionals[0].Header.TTL != 0 || m.Additionals[0].Header.Name.String() != "." {
		t.Errorf("additional records %#v, want one OPT at the root with a size of 1232", m.Additionals)
	}

	plain, err := AppendQuery(nil, 1, q, QueryOptions{})
	if err != nil || len(plain) != headerBytes+len(q.Name)+4 || !bytes.Equal(plain[2:12], []byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("query without options: %x, %v", plain, err)
	}
	small, err := AppendQuery(nil, 1, q, QueryOptions{EDNSSize: 100})
	if err != nil || !bytes.Contains(small, []byte{0, 0, 41, 2, 0}) {
		t.Errorf("query with an EDNS size of 100: %x, %v; want 512 (RFC 6891, section 6.2.3)", small, err)
	}
	longest := Question{mustName(t, strings.Repeat("a.", 127)), TypeA}
	if b, err := AppendQuery(nil, 1, longest, QueryOptions{EDNSSize: 1232}); len(b) != MaxQueryBytes || err != nil {
		t.Errorf("the longest query has %d octets, want MaxQueryBytes, %d; error %v", len(b), MaxQueryBytes, err)
	}
}

func TestAppendQueryRefuses(t *testing.T) {
	name := mustName(t, "example.com")
	for _, q := range []Question{
		{"", TypeA},
		{"example.com.", TypeA}, // text
		{name + name, TypeA},
		{name[:5], TypeA},
		{"\x41" + Name(strings.Repeat("a", 65)) + "\x00", TypeA},
		{Name(strings.Repeat("\x01a", 128)) + "\x00", TypeA},
		{name, 0},
		{name, 255}, // ANY
		{name, 252}, // AXFR
		{name, typeOPT},
	} {
		if b, err := AppendQuery([]byte("before"), 1, q, QueryOptions{}); !errors.Is(err, ErrBadQuestion) || string(b) != "before" {
			t.Errorf("AppendQuery(%q, %v) = %q, %v; want ErrBadQuestion", string(q.Name), q.Type, b, err)
		}
	}
}

// asResponse makes a query its own response.
func asResponse(query []byte) []byte {
	b := bytes.Clone(query)
	b[2] |= 0x80
	return b
}

func randomCase(r *rand.Rand) (k Case) {
	for i := range k {
		k[i] = r.Uint64()
	}
	return k
}

// RFC 5452, section 9.1: what a response must repeat.
func TestMatch(t *testing.T) {
	sent := &Sent{ID: 0x1234, Question: Question{mustName(t, "wWw.example1.com"), TypeA}}
	sent.Case = Case{0b1010_1010_1110}
	query, err := AppendQuery(nil, sent.ID, sent.Question, QueryOptions{RecursionDesired: true, EDNSSize: 1232, Case: sent.Case})
	if err != nil {
		t.Fatal(err)
	}
	good := asResponse(query)
	if bytes.Contains(good, []byte("wWw")) {
		t.Error("the case of the name is not inverted")
	}
	afterName := headerBytes + len(sent.Question.Name)
	set := func(at int, c ...byte) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[at:], c); return b }
	}
	for _, c := range []struct {
		what   string
		change func([]byte) []byte
		want   Verdict
	}{
		{"unchanged", set(0), Matched},
		{"with flags and an error code", set(2, 0x87, 0xa3), Matched},
		{"one letter in the other case", func(b []byte) []byte { b[headerBytes+1] ^= 0x20; return b }, CaseLost},
		{"in lower case", func(b []byte) []byte {
			return append(append(b[:headerBytes:headerBytes], sent.Question.Name.Fold()...), b[afterName:]...)
		}, CaseLost},
		{"another digit", func(b []byte) []byte { b[bytes.IndexByte(b, '1')] ^= 0x20; return b }, WrongQuestion},
		{"another ID", set(1, 0x35), WrongID},
		{"the ID in the other order", set(0, 0x34, 0x12), WrongID},
		{"a query", set(2, 0x01), NotResponse},
		{"another opcode", set(2, 0xa1), NotResponse},
		{"another type", set(afterName+1, 28), WrongQuestion},
		{"class CH", set(afterName+3, 3), WrongQuestion},
		{"another name", set(headerBytes+2, 'x'), WrongQuestion},
		{"another length of a label", set(headerBytes, 4), WrongQuestion},
		{"two questions", set(5, 2), WrongQuestion},
		{"no question", set(5, 0), WrongQuestion},
		{"no question, NXDOMAIN", func(b []byte) []byte { b[5], b[3] = 0, 3; return b }, WrongQuestion},
		{"no question, FORMERR", func(b []byte) []byte { b[5], b[3] = 0, 1; return b[:headerBytes] }, QuestionMissing},
		{"no question, FORMERR, another ID", func(b []byte) []byte { b[5], b[3], b[0] = 0, 1, 1; return b[:headerBytes] }, WrongID},
		{"cut in the type", func(b []byte) []byte { return b[:afterName+3] }, Garbled},
		{"cut in the header", func(b []byte) []byte { return b[:headerBytes-1] }, Garbled},
		{"empty", func([]byte) []byte { return nil }, Garbled},
	} {
		if got := Match(c.change(bytes.Clone(good)), sent); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { Match(good, sent) }); n != 0 {
		t.Errorf("Match allocates %v times", n)
	}
}

// Each letter has a bit of its own, up to the longest name.
func TestCaseCoversNames(t *testing.T) {
	name := Name(strings.Repeat("\x3f"+strings.Repeat("a", 63), 3) + "\x3d" + strings.Repeat("b", 61) + "\x00")
	q := Question{name, TypeA}
	for i := range len(name) {
		k := Case{}
		k[i/64] = 1 << (i % 64)
		b, err := AppendQuery(nil, 1, q, QueryOptions{Case: k})
		if err != nil {
			t.Fatal(err)
		}
		for j := range len(name) {
			want := name[j]
			if j == i && want > MaxLabelBytes {
				want ^= 0x20
			}
			if got := b[headerBytes+j]; got != want {
				t.Fatalf("bit %d: octet %d is %q, want %q", i, j, got, want)
			}
		}
		if got := Match(asResponse(b), &Sent{ID: 1, Question: q, Case: k}); got != Matched {
			t.Fatalf("bit %d: %v", i, got)
		}
	}
}
