package dnswire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// An rr is a record to encode. The owner is in presentation format.
type rr struct {
	owner string
	typ   Type
	ttl   uint32
	data  string

	class    uint16 // 0: IN
	rdlength int    // 0: that of data
}

func wire(text string) string {
	n, err := ParseName(text)
	if err != nil {
		panic(err)
	}
	return string(n)
}

func a(owner string, ttl uint32, addr string) rr {
	ip := netip.MustParseAddr(addr)
	typ := TypeAAAA
	if ip.Is4() {
		typ = TypeA
	}
	return rr{owner: owner, typ: typ, ttl: ttl, data: string(ip.AsSlice())}
}

func cname(owner string, ttl uint32, target string) rr {
	return rr{owner: owner, typ: TypeCNAME, ttl: ttl, data: wire(target)}
}

func soa(owner string, ttl, minimum uint32) rr {
	times := make([]byte, 16, 20)
	times[3], times[7], times[11], times[15] = 1, 2, 3, 4
	return rr{owner: owner, typ: TypeSOA, ttl: ttl, data: wire("ns."+owner) + wire(`john\.doe.`+owner) + string(binary.BigEndian.AppendUint32(times, minimum))}
}

// opt is an OPT record with an extended code and options.
func opt(rcode Rcode, options string) rr {
	return rr{owner: ".", typ: typeOPT, class: 1232, ttl: uint32(rcode>>4) << 24, data: options}
}

// A reply is a response to encode.
type reply struct {
	q                             Question
	flags                         uint16
	answer, authority, additional []rr
}

// recursive has the usual flags of a recursive server.
const recursive = bitQR | bitRD | bitRA

func (r reply) encode() []byte {
	b := make([]byte, headerBytes)
	binary.BigEndian.PutUint16(b[2:], r.flags)
	b[5] = 1
	binary.BigEndian.PutUint16(b[6:], uint16(len(r.answer)))
	binary.BigEndian.PutUint16(b[8:], uint16(len(r.authority)))
	binary.BigEndian.PutUint16(b[10:], uint16(len(r.additional)))
	b = append(b, r.q.Name...)
	b = binary.BigEndian.AppendUint16(b, uint16(r.q.Type))
	b = binary.BigEndian.AppendUint16(b, classIN)
	for _, rr := range slices.Concat(r.answer, r.authority, r.additional) {
		if rr.class == 0 {
			rr.class = classIN
		}
		if rr.rdlength == 0 {
			rr.rdlength = len(rr.data)
		}
		b = append(b, wire(rr.owner)...)
		b = binary.BigEndian.AppendUint16(b, uint16(rr.typ))
		b = binary.BigEndian.AppendUint16(b, rr.class)
		b = binary.BigEndian.AppendUint32(b, rr.ttl)
		b = binary.BigEndian.AppendUint16(b, uint16(rr.rdlength))
		b = append(b, rr.data...)
	}
	return b
}

// describe returns what a test compares of a response.
func describe(r Response) string {
	s := fmt.Sprintf("%v %v ttl=%v canonical=%v dropped=%d", r.Kind, r.Rcode, r.TTL, r.Canonical, r.Dropped)
	for i := range r.Records {
		if i == r.Aliases {
			s += " |"
		}
		s += " " + r.Records[i].Name.String() + "=" + r.Records[i].DataString()
	}
	return s
}

// parsed is the name of the questions of parseCases.
const parsed = "www.example.com"

// A parseCase is a response to a question for an A record of parsed, and what describe returns of it.
type parseCase struct {
	what string
	reply
	want string
}

// longestChain is a chain of MaxChain aliases, and the address at its end.
func longestChain() []rr {
	chain := []rr{cname(parsed, 60, "c1.example")}
	for i := 1; i < MaxChain; i++ {
		chain = append(chain, cname(fmt.Sprintf("c%d.example", i), 60, fmt.Sprintf("c%d.example", i+1)))
	}
	return append(chain, a(fmt.Sprintf("c%d.example", MaxChain), 60, "192.0.2.1"))
}

func positiveResponses() []parseCase {
	return []parseCase{
		{
			"records of a name",
			reply{answer: []rr{a(parsed, 300, "192.0.2.1"), a(parsed, 60, "192.0.2.2")}},
			"positive NOERROR ttl=1m0s canonical=www.example.com. dropped=0 | www.example.com.=192.0.2.1 www.example.com.=192.0.2.2",
		},
		{
			"the owner's case does not matter",
			reply{answer: []rr{a("WWW.example.COM", 300, "192.0.2.1")}},
			"positive NOERROR ttl=5m0s canonical=www.example.com. dropped=0 | www.example.com.=192.0.2.1",
		},
		{
			"a chain, its TTL is the least",
			reply{answer: []rr{cname(parsed, 20, "x.example"), cname("x.example", 10, "y.example"), a("y.example", 30, "192.0.2.1")}},
			"positive NOERROR ttl=10s canonical=y.example. dropped=0 www.example.com.=x.example. x.example.=y.example. | y.example.=192.0.2.1",
		},
		{
			"a chain in another order",
			reply{answer: []rr{a("y.example", 30, "192.0.2.1"), cname("x.example", 10, "Y.example"), cname(parsed, 20, "X.example")}},
			"positive NOERROR ttl=10s canonical=Y.example. dropped=0 www.example.com.=X.example. X.example.=Y.example. | Y.example.=192.0.2.1",
		},
		{"a chain of MaxChain", reply{answer: longestChain()}, "positive"},
		{
			"owners off the chain are dropped",
			reply{answer: []rr{a("evil.example", 9, "203.0.113.1"), cname("evil.example", 9, "z.example"), a(parsed, 30, "192.0.2.1"), a("example.com", 9, "203.0.113.2")}},
			"positive NOERROR ttl=30s canonical=www.example.com. dropped=3 | www.example.com.=192.0.2.1",
		},
		{
			"nothing but owners off the chain",
			reply{answer: []rr{a("evil.example", 9, "203.0.113.1")}},
			"no data NOERROR ttl=0s canonical=www.example.com. dropped=1",
		},
		{
			"other classes and types are dropped",
			reply{answer: []rr{{owner: parsed, typ: TypeA, ttl: 9, class: 3, data: "\xcb\x00\x71\x01"}, a(parsed, 9, "2001:db8::1"), a(parsed, 30, "192.0.2.1")}},
			"positive NOERROR ttl=30s canonical=www.example.com. dropped=2 | www.example.com.=192.0.2.1",
		},
		{
			"a malformed record off the chain is dropped",
			reply{answer: []rr{{owner: "x.example", typ: TypeA, data: "\x01"}, a(parsed, 30, "192.0.2.1")}},
			"positive NOERROR ttl=30s canonical=www.example.com. dropped=1 | www.example.com.=192.0.2.1",
		},
		{
			"duplicates count once, with the lower TTL",
			reply{answer: []rr{a(parsed, 30, "192.0.2.1"), a(parsed, 20, "192.0.2.1")}},
			"positive NOERROR ttl=20s canonical=www.example.com. dropped=1 | www.example.com.=192.0.2.1",
		},
		{
			"of two CNAMEs the first counts",
			reply{answer: []rr{cname(parsed, 20, "x.example"), cname(parsed, 10, "y.example"), a("y.example", 5, "192.0.2.2"), a("x.example", 30, "192.0.2.1")}},
			"positive NOERROR ttl=20s canonical=x.example. dropped=2 www.example.com.=x.example. | x.example.=192.0.2.1",
		},
		{
			"a TTL with the highest bit is 0",
			reply{answer: []rr{a(parsed, 1<<31, "192.0.2.1")}},
			"positive NOERROR ttl=0s canonical=www.example.com. dropped=0 | www.example.com.=192.0.2.1",
		},
	}
}

func negativeResponses() []parseCase {
	return []parseCase{
		{
			"NXDOMAIN with SOA: the minimum of TTL and MINIMUM",
			reply{flags: 3, authority: []rr{soa("example.com", 900, 300)}},
			"no such name NXDOMAIN ttl=5m0s canonical=www.example.com. dropped=0",
		},
		{
			"NODATA with SOA: the minimum of TTL and MINIMUM",
			reply{authority: []rr{soa("com", 90, 300)}},
			"no data NOERROR ttl=1m30s canonical=www.example.com. dropped=0",
		},
		{
			"NODATA with NS and SOA is no referral",
			reply{authority: []rr{{owner: "com", typ: TypeNS, data: wire("ns.com")}, soa("com", 90, 300)}},
			"no data NOERROR ttl=1m30s canonical=www.example.com. dropped=0",
		},
		{
			"an SOA of another zone proves nothing",
			reply{flags: 3, authority: []rr{soa("example.net", 900, 300)}},
			"no such name NXDOMAIN ttl=0s canonical=www.example.com. dropped=0",
		},
		{
			"an SOA below the name proves nothing",
			reply{flags: 3, authority: []rr{soa("a."+parsed, 900, 300)}},
			"no such name NXDOMAIN ttl=0s canonical=www.example.com. dropped=0",
		},
		{
			"an SOA of class CH proves nothing",
			reply{flags: 3, authority: []rr{{owner: "com", typ: TypeSOA, class: 3, ttl: 900, data: soa("com", 1, 300).data}}},
			"no such name NXDOMAIN ttl=0s canonical=www.example.com. dropped=0",
		},
		{
			"NXDOMAIN at the end of a chain",
			reply{flags: 3, answer: []rr{cname(parsed, 20, "x.example")}, authority: []rr{soa("example", 900, 300)}},
			"no such name NXDOMAIN ttl=20s canonical=x.example. dropped=0 www.example.com.=x.example.",
		},
		{
			"NODATA at the end of a chain: the SOA is of its zone",
			reply{answer: []rr{cname(parsed, 2000, "x.example")}, authority: []rr{soa("example.com", 90, 90), soa("example", 900, 300)}},
			"no data NOERROR ttl=5m0s canonical=x.example. dropped=0 www.example.com.=x.example.",
		},
		{
			"records with NXDOMAIN are not believed",
			reply{flags: 3, answer: []rr{a(parsed, 30, "203.0.113.1")}, authority: []rr{soa("com", 90, 300)}},
			"no such name NXDOMAIN ttl=1m30s canonical=www.example.com. dropped=1",
		},
		{
			"a referral",
			reply{authority: []rr{{owner: "com", typ: TypeNS, ttl: 99, data: wire("ns.com")}}},
			"referral NOERROR ttl=0s canonical=www.example.com. dropped=0",
		},
		{
			"NS of an authority is no referral",
			reply{flags: bitAA, authority: []rr{{owner: "com", typ: TypeNS, ttl: 99, data: wire("ns.com")}}},
			"no data NOERROR ttl=0s canonical=www.example.com. dropped=0",
		},
		{
			"NS of another zone is no referral",
			reply{authority: []rr{{owner: "net", typ: TypeNS, ttl: 99, data: wire("ns.net")}}},
			"no data NOERROR ttl=0s canonical=www.example.com. dropped=0",
		},
		{
			"a chain out of the zones of a server that is not recursive",
			reply{flags: bitQR | bitAA, answer: []rr{cname(parsed, 20, "x.example")}},
			"incomplete NOERROR ttl=0s canonical=x.example. dropped=0 www.example.com.=x.example.",
		},
		{
			"the same of a recursive server",
			reply{answer: []rr{cname(parsed, 20, "x.example")}},
			"no data NOERROR ttl=0s canonical=x.example. dropped=0 www.example.com.=x.example.",
		},
	}
}

func failures() []parseCase {
	return []parseCase{
		{
			"truncated: records are not looked at",
			reply{flags: bitTC, answer: []rr{a(parsed, 30, "192.0.2.1"), {owner: parsed, typ: TypeA, data: "\x01", rdlength: 999}}},
			"truncated NOERROR ttl=0s canonical=www.example.com. dropped=0",
		},
		{
			"SERVFAIL with records",
			reply{flags: 2, answer: []rr{a(parsed, 30, "192.0.2.1")}},
			"server failure SERVFAIL ttl=0s canonical=www.example.com. dropped=0",
		},
		{"REFUSED", reply{flags: 5}, "server failure REFUSED ttl=0s canonical=www.example.com. dropped=0"},
		{
			"FORMERR that repeats a cut query",
			reply{flags: 1, additional: []rr{{owner: ".", typ: typeOPT, rdlength: 99}}},
			"format error FORMERR ttl=0s canonical=www.example.com. dropped=0",
		},
		{"NOTIMP", reply{flags: 4}, "format error NOTIMP ttl=0s canonical=www.example.com. dropped=0"},
		{
			"BADVERS, by the extension of the code",
			reply{answer: []rr{a(parsed, 30, "192.0.2.1")}, additional: []rr{opt(16, "")}},
			"format error BADVERS ttl=0s canonical=www.example.com. dropped=0",
		},
		{"another extended code", reply{flags: 1, additional: []rr{opt(17, "")}}, "server failure RCODE17 ttl=0s canonical=www.example.com. dropped=0"},
	}
}

func TestParse(t *testing.T) {
	for _, c := range slices.Concat(positiveResponses(), negativeResponses(), failures()) {
		c.q = Question{mustName(t, parsed), TypeA}
		if c.flags&bitQR == 0 {
			c.flags |= recursive
		}
		r, err := Parse(c.encode(), c.q)
		if got := describe(r); err != nil || got != c.want && !strings.HasPrefix(got, c.want+" NOERROR") {
			t.Errorf("%s:\n got %s, %v\nwant %s", c.what, got, err, c.want)
		}
	}
}

func TestParseTypes(t *testing.T) {
	for _, c := range []struct {
		typ        Type
		data, want string
	}{
		{TypeA, "\x7f\x00\x00\x01", "127.0.0.1"},
		{TypeAAAA, strings.Repeat("\x00", 15) + "\x01", "::1"},
		{TypeAAAA, strings.Repeat("\x00", 10) + "\xff\xff\x7f\x00\x00\x01", "::ffff:127.0.0.1"},
		{TypeCNAME, wire("X.example"), "X.example."},
		{TypeNS, wire("ns.example"), "ns.example."},
		{TypePTR, wire(`My\.Printer\032\010.x`), `My\.Printer\032\010.x.`},
		{TypePTR, "\x03ptr\xc0\x0c", "ptr.owner.example."}, // compressed
		{TypeMX, "\x00\x0a" + wire("mx.example"), "10 mx.example."},
		{TypeMX, "\x00\x00\x00", "0 ."}, // RFC 7505
		{TypeSRV, "\x00\x01\x00\x02\x1f\x90" + wire("s.example"), "1 2 8080 s.example."},
		{TypeTXT, "\x05a\"b\\c\x00\x04\x1b[2J\x01\xff", `"a\"b\\c" "" "\027[2J" "\255"`},
		{TypeSOA, soa("z", 0, 9).data, `ns.z. john\.doe.z. 1 2 3 4 9`},
		{257, "\x00\x05issue", `\# 7 00056973737565`}, // RFC 3597
		{257, "", `\# 0`},
	} {
		q := Question{mustName(t, "owner.example"), c.typ}
		r, err := Parse(reply{q: q, flags: recursive, answer: []rr{{owner: "owner.example", typ: c.typ, ttl: 7, data: c.data}}}.encode(), q)
		if err != nil || len(r.Answers()) != 1 {
			t.Errorf("%v %q: %s, %v", c.typ, c.data, describe(r), err)
			continue
		}
		want := fmt.Sprintf("owner.example. 7 IN %v %s", c.typ, c.want)
		if got := r.Records[0].String(); got != want {
			t.Errorf("%q prints as %s, want %s", c.data, got, want)
		}
	}
}

// A record of the answer whose data does not have the length of its type makes the message malformed.
func TestParseMalformedData(t *testing.T) {
	const dataAt = 0x38
	for _, c := range []struct {
		typ  Type
		data string
	}{
		{TypeA, "\x7f\x00\x00"},
		{TypeA, "\x7f\x00\x00\x01\x01"},
		{TypeA, ""},
		{TypeAAAA, strings.Repeat("\x01", 15)},
		{TypeAAAA, strings.Repeat("\x01", 17)},
		{TypeAAAA, "\x7f\x00\x00\x01"},
		{TypeNS, ""},
		{TypeNS, wire("x") + "\x01"},
		{TypeNS, "\x01"},
		{TypeNS, "\x02x\x00"},
		{TypeNS, "\xc0"},
		{TypeNS, "\x40x\x00"},
		{TypeNS, "\x80x\x00"},
		{TypeNS, "\x80\x0c"},
		{TypeNS, "\xc0\x02"}, // into the header
		{TypeNS, "\xff\xff"}, // forward
		{TypeNS, "\xc0\x38"}, // to itself
		{TypeNS, "\x01x\xc0\x38"},
		{TypeCNAME, wire("x") + "\x01"},
		{TypeMX, "\x00"},
		{TypeMX, "\x00\x01"},
		{TypeMX, "\x00\x01\x00\x00"},
		{TypeSRV, "\x00\x01\x00\x02\x00"},
		{TypeSRV, "\x00\x01\x00\x02\x00\x03"},
		{TypeTXT, "\x02a"},
		{TypeTXT, "\x01a\x01"},
		{TypeSOA, soa("z", 0, 9).data[1:]},
		{TypeSOA, soa("z", 0, 9).data + "\x00"},
		{TypeSOA, "\x00\x00\x00\x00\x00\x00"},
	} {
		q := Question{mustName(t, "owner.example"), c.typ}
		good := rr{owner: "owner.example", typ: c.typ, ttl: 7, data: c.data}
		b := reply{q: q, flags: recursive, answer: []rr{good}}.encode()
		if at := len(b) - len(c.data); at != dataAt {
			t.Fatalf("the data is at %#x, want %#x, to which some cases point", at, dataAt)
		}
		// What follows the data must not be read as part of it.
		b = append(b, "\x01\x02\x03\x04\x05\x06\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
		r, err := Parse(b, q)
		var me *MalformedError
		if !errors.Is(err, ErrMalformed) || !errors.As(err, &me) {
			t.Errorf("%v %q: %s, %v; want a *MalformedError", c.typ, c.data, describe(r), err)
		} else if me.Offset < headerBytes || me.Offset > len(b) {
			t.Errorf("%v %q: %v: the offset is not within the data", c.typ, c.data, err)
		}
		if r.Records != nil {
			t.Errorf("%v %q: records are returned with an error: %s", c.typ, c.data, describe(r))
		}
	}
}

func TestParseErrors(t *testing.T) {
	const name = "www.example.com"
	q := Question{mustName(t, name), TypeA}
	other := Question{mustName(t, "www.example.net"), TypeA}
	ok := reply{q: q, flags: recursive, answer: []rr{a(name, 30, "192.0.2.1")}}.encode()
	chain17 := []rr{cname(name, 60, "c1")}
	for i := 1; i <= MaxChain; i++ {
		chain17 = append(chain17, cname(fmt.Sprint("c", i), 60, fmt.Sprint("c", i+1)))
	}
	twoQuestions := bytes.Clone(ok)
	twoQuestions[5] = 2
	for _, c := range []struct {
		what string
		msg  []byte
		want error
	}{
		{"a loop of one", reply{q: q, answer: []rr{cname(name, 9, "WWW.example.com")}}.encode(), ErrCNAMELoop},
		{"a loop of two", reply{q: q, answer: []rr{cname(name, 9, "x"), cname("x", 9, name)}}.encode(), ErrCNAMELoop},
		{"a loop after the start", reply{q: q, answer: []rr{cname(name, 9, "x"), cname("x", 9, "y"), cname("y", 9, "X")}}.encode(), ErrCNAMELoop},
		{"a chain of MaxChain and one", reply{q: q, answer: chain17}.encode(), ErrChainTooLong},
		{"another name", reply{q: other, answer: []rr{a(name, 30, "192.0.2.1")}}.encode(), ErrWrongQuestion},
		{"another name, SERVFAIL", reply{q: other, flags: 2}.encode(), ErrWrongQuestion},
		{"another type", reply{q: Question{q.Name, TypeAAAA}}.encode(), ErrWrongQuestion},
		{"two questions", twoQuestions, ErrWrongQuestion},
		{"no question", make([]byte, headerBytes), ErrWrongQuestion},
		{"a query", func() []byte { b := bytes.Clone(ok); b[2] &^= 0x80; return b }(), ErrMalformed},
		{"an RDLENGTH past the end", reply{q: q, answer: []rr{{owner: name, typ: TypeA, data: "\x01\x02\x03\x04", rdlength: 5}}}.encode(), ErrMalformed},
		{"the same off the chain", reply{q: q, answer: []rr{{owner: "x", typ: TypeA, data: "\x01\x02\x03\x04", rdlength: 5}}}.encode(), ErrMalformed},
		{"the same in the authority section", reply{q: q, authority: []rr{{owner: "x", typ: TypeA, data: "\x01\x02\x03\x04", rdlength: 5}}}.encode(), ErrMalformed},
		{"two OPT records", reply{q: q, additional: []rr{opt(0, ""), opt(0, "")}}.encode(), ErrMalformed},
		{"an OPT record below the root", reply{q: q, additional: []rr{{owner: "x", typ: typeOPT}}}.encode(), ErrMalformed},
		{"an option that is cut", reply{q: q, additional: []rr{opt(0, "\x00\x01\x00\x01")}}.encode(), ErrMalformed},
		{"options with octets left", reply{q: q, additional: []rr{opt(0, "\x00\x01\x00")}}.encode(), ErrMalformed},
		{"too long", make([]byte, MaxMessageBytes+1), ErrMalformed},
		{"empty", nil, ErrMalformed},
	} {
		if len(c.msg) > headerBytes && c.what != "a query" {
			c.msg[2] |= 0x80
		}
		if c.what == "no question" {
			c.msg[2] |= 0x80
		}
		if r, err := Parse(c.msg, q); !errors.Is(err, c.want) {
			t.Errorf("%s: %s, %v; want %v", c.what, describe(r), err, c.want)
		}
	}
	for cut := range len(ok) {
		if r, err := Parse(ok[:cut], q); err == nil {
			t.Errorf("a message cut to %d octets of %d is taken: %s", cut, len(ok), describe(r))
		}
	}
	for _, bad := range []Question{{}, {"\x07", TypeA}, {"\xff\x00", TypeA}, {q.Name, 255}} {
		if _, err := Parse(ok, bad); !errors.Is(err, ErrBadQuestion) {
			t.Errorf("Parse for the question %q %v: %v, want ErrBadQuestion", string(bad.Name), bad.Type, err)
		}
	}
}

// A server that repeats no question to a query that it does not understand reports an error, and nothing else.
func TestParseErrorWithoutQuestion(t *testing.T) {
	msg := make([]byte, headerBytes)
	msg[2], msg[3], msg[11] = 0x81, 0x81, 1 // FORMERR, an additional record that is not there
	r, err := Parse(msg, Question{mustName(t, "example.com"), TypeA})
	if err != nil || r.Kind != FormatError || r.Rcode != RcodeFormatError || r.EDNS {
		t.Errorf("%s, %v; want a format error", describe(r), err)
	}
}

func TestParseFlags(t *testing.T) {
	q := Question{mustName(t, "example.com"), TypeA}
	r, err := Parse(reply{
		q: q, flags: bitQR | bitAA | bitRA | bitAD, answer: []rr{a("example.com", 1, "192.0.2.1")},
		additional: []rr{a("x", 1, "192.0.2.1"), opt(0, "\x00\x0a\x00\x08cookie12"+"\x00\x0f\x00\x06\x00\x06bo\x1bs"+"\x00\x0f\x00\x01\x00"+"\x00\x0f\x00\x02\x00\x63")},
	}.encode(), q)
	if err != nil || !r.Authoritative || !r.RecursionAvailable || !r.AuthenticData || !r.EDNS {
		t.Errorf("%+v, %v; want all flags", r, err)
	}
	if got, want := fmt.Sprint(r.Explanations), `[DNSSEC bogus: "bo\x1bs" extended error 99]`; got != want {
		t.Errorf("explanations %s, want %s", got, want)
	}
	r, err = Parse(reply{q: q, flags: bitQR, answer: []rr{a("example.com", 1, "192.0.2.1")}}.encode(), q)
	if err != nil || r.Authoritative || r.RecursionAvailable || r.AuthenticData || r.EDNS {
		t.Errorf("%+v, %v; want no flags", r, err)
	}
	many := strings.Repeat("\x00\x0f\x00\x02\x00\x01", 1000)
	r, err = Parse(reply{q: q, flags: bitQR | 2, additional: []rr{opt(0, many)}}.encode(), q)
	if err != nil || len(r.Explanations) != maxExplanations || r.Kind != ServerFailure {
		t.Errorf("%d explanations, %v, %v; want %d and a server failure", len(r.Explanations), r.Kind, err, maxExplanations)
	}
}

// TestParseIsBounded: the memory that a message costs is linear in its length, whatever is in it.
func TestParseIsBounded(t *testing.T) {
	const maxBytesPerOctet = 64
	q := Question{mustName(t, strings.Repeat("a.", 127)), TypePTR}
	pointer := "\xc0\x0c"
	head := reply{q: q, flags: recursive}.encode()
	// fill returns a message full of records, each ?? of which is replaced by a number.
	fill := func(record string) []byte {
		b := bytes.Clone(head)
		n := (MaxMessageBytes - len(b)) / len(record)
		binary.BigEndian.PutUint16(b[6:], uint16(n))
		for i := range n {
			b = append(b, strings.Replace(record, "??", string([]byte{byte(i >> 8), byte(i)}), 1)...)
		}
		return b
	}
	txt := bytes.Clone(head)
	txt[7], txt[headerBytes+len(q.Name)+1] = 1, byte(TypeTXT)
	txt = append(txt, pointer+"\x00\x10\x00\x01\x00\x00\x00\x00"...)
	txt = binary.BigEndian.AppendUint16(txt, uint16(MaxMessageBytes-len(txt)-2))
	txt = append(txt, make([]byte, MaxMessageBytes-len(txt))...)
	counts := bytes.Clone(head)
	copy(counts[6:], "\xff\xff\xff\xff\xff\xff")
	deep := bytes.Clone(head) // each owner is a pointer to the last one
	for len(deep)+14 <= 0x3fff {
		at := len(deep)
		last := at - 14
		if at == len(head) {
			last = headerBytes
		}
		deep = append(deep, 0xc0|byte(last>>8), byte(last))
		deep = append(deep, "\x00\x0c\x00\x01\x00\x00\x00\x00\x00\x02\xc0\x0c"...)
		binary.BigEndian.PutUint16(deep[6:], binary.BigEndian.Uint16(deep[6:])+1)
	}
	for what, c := range map[string]struct {
		msg []byte
		typ Type
		ok  bool // well-formed
	}{
		"equal names by pointers":       {fill(pointer + "\x00\x0c\x00\x01\x00\x00\x00\x00\x00\x02" + pointer), TypePTR, true},
		"long names by pointers":        {fill(pointer + "\x00\x0c\x00\x01\x00\x00\x00\x00\x00\x05\x02??\xc0\x10"), TypePTR, true},
		"addresses":                     {fill(pointer + "\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x01\x01??"), TypeA, true},
		"mail servers":                  {fill(pointer + "\x00\x0f\x00\x01\x00\x00\x00\x00\x00\x04??" + pointer), TypeMX, true},
		"names that are almost equal":   {fill("\x01b" + pointer + "\x00\x0c\x00\x01\x00\x00\x00\x00\x00\x00"), TypePTR, false},
		"aliases off the chain":         {fill("\x00\x00\x05\x00\x01\x00\x00\x00\x00\x00\x00"), TypePTR, true},
		"empty texts":                   {txt, TypeTXT, true},
		"counts without records":        {counts, TypePTR, false},
		"pointers to pointers":          {deep, TypePTR, false},
		"empty records of unknown type": {fill(pointer + "\x01\x01\x00\x01\x00\x00\x00\x00\x00\x00"), 257, true},
	} {
		q := Question{q.Name, c.typ}
		binary.BigEndian.PutUint16(c.msg[headerBytes+len(q.Name):], uint16(c.typ))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := Parse(c.msg, q)
		runtime.ReadMemStats(&after)
		if c.ok && err != nil || !c.ok && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
		got := after.TotalAlloc - before.TotalAlloc
		if limit := uint64(maxBytesPerOctet*len(c.msg) + 8192); got > limit {
			t.Errorf("%s: %d bytes are allocated for %d octets, more than %d", what, got, len(c.msg), limit)
		}
		t.Logf("%s: %d octets, %d bytes allocated, %d records, %v", what, len(c.msg), got, len(r.Records), err)
	}
}

// The limit of names holds for what compression expands to, too.
func TestParseNameLimit(t *testing.T) {
	label := "\x3f" + strings.Repeat("a", 63)
	q := Question{mustName(t, strings.Repeat(strings.Repeat("a", 63)+".", 3)), TypePTR} // 193 octets
	for length, ok := range map[int]bool{MaxNameBytes: true, MaxNameBytes + 1: false} {
		first := length - len(q.Name) - 1
		for what, data := range map[string]string{
			"whole":      string([]byte{byte(first)}) + strings.Repeat("b", first) + strings.Repeat(label, 3) + "\x00",
			"compressed": string([]byte{byte(first)}) + strings.Repeat("b", first) + "\xc0\x0c",
		} {
			r, err := Parse(reply{q: q, flags: recursive, answer: []rr{{owner: q.Name.String(), typ: TypePTR, data: data}}}.encode(), q)
			if (err == nil) != ok || ok && len(r.Answers()[0].Target) != length {
				t.Errorf("%s, %d octets: %v", what, length, err)
			}
		}
	}
}

// Records of a set are duplicates if all their data is equal, names without regard to case.
func TestParseDuplicates(t *testing.T) {
	for _, c := range []struct {
		typ  Type
		data []string
		want int
	}{
		{TypeMX, []string{"\x00\x01" + wire("a"), "\x00\x02" + wire("a"), "\x00\x01" + wire("b"), "\x00\x01" + wire("A")}, 3},
		{TypeSRV, []string{"\x00\x01\x00\x01\x00\x01" + wire("a"), "\x00\x01\x00\x02\x00\x01" + wire("a"), "\x00\x01\x00\x01\x00\x02" + wire("a"), "\x00\x01\x00\x01\x00\x01" + wire("a")}, 3},
		{TypeTXT, []string{"\x02ab", "\x01a\x01b", "\x02AB", "\x02ab"}, 3},
		{TypeSOA, []string{soa("z", 0, 1).data, soa("z", 0, 2).data, soa("z", 0, 1).data}, 2},
		{TypeAAAA, []string{strings.Repeat("\x01", 16), strings.Repeat("\x02", 16), strings.Repeat("\x01", 16)}, 2},
		{257, []string{"ab", "AB", "", "ab"}, 3},
	} {
		rep := reply{q: Question{mustName(t, "example.com"), c.typ}, flags: recursive}
		for _, data := range c.data {
			rep.answer = append(rep.answer, rr{owner: "example.com", typ: c.typ, data: data})
		}
		r, err := Parse(rep.encode(), rep.q)
		if err != nil || len(r.Answers()) != c.want || r.Dropped != len(c.data)-c.want {
			t.Errorf("%v: %s, %v; want %d records", c.typ, describe(r), err, c.want)
		}
	}
}

// Records refer to no memory of the message, which its owner reuses.
func TestParseKeepsNothing(t *testing.T) {
	for typ, data := range map[Type]string{TypeTXT: "\x03abc", 257: "abc", TypePTR: wire("abc"), TypeAAAA: strings.Repeat("\x01", 16), TypeSOA: soa("z", 0, 9).data} {
		q := Question{mustName(t, "example.com"), typ}
		msg := reply{q: q, flags: recursive, answer: []rr{{owner: "example.com", typ: typ, ttl: 60, data: data}}, additional: []rr{opt(0, "\x00\x0f\x00\x05\x00\x06abc")}}.encode()
		r, err := Parse(msg, q)
		if err != nil {
			t.Fatal(err)
		}
		before := describe(r) + fmt.Sprint(r.Explanations)
		clear(msg)
		if after := describe(r) + fmt.Sprint(r.Explanations); after != before {
			t.Errorf("type %v: the response changes with the message: %s, before %s", typ, after, before)
		}
	}
}

func TestVerdictsAndKindsHaveNames(t *testing.T) {
	for v := Matched; v <= Garbled; v++ {
		if v.String() == "" || v.String() == "unknown verdict" {
			t.Errorf("verdict %d has no name", v)
		}
	}
	for k := Positive; k <= ServerFailure; k++ {
		if k.String() == "" || k.String() == "unknown kind" {
			t.Errorf("kind %d has no name", k)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	q := Question{mustName(b, "www.example.com"), TypeA}
	msg := reply{
		q: q, flags: recursive, additional: []rr{opt(0, "")},
		answer: []rr{cname("www.example.com", 60, "edge.example.net"), a("edge.example.net", 60, "192.0.2.1"), a("edge.example.net", 60, "192.0.2.2")},
	}.encode()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(msg, q); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	sent := &Sent{Question: Question{mustName(b, "www.example.com"), TypeA}}
	msg := reply{q: sent.Question, flags: recursive}.encode()
	b.ReportAllocs()
	for b.Loop() {
		if Match(msg, sent) != Matched {
			b.Fatal("not matched")
		}
	}
}

func BenchmarkAppendQuery(b *testing.B) {
	q := Question{mustName(b, "www.example.com"), TypeA}
	buf := make([]byte, 0, MaxQueryBytes)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := AppendQuery(buf, 1, q, QueryOptions{RecursionDesired: true, EDNSSize: 1232, Case: Case{1, 2}}); err != nil {
			b.Fatal(err)
		}
	}
}
