package dnstest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/testkit"
)

// A lookupCase is a name and a type, and what any server that has the zones answers.
type lookupCase struct {
	name      string
	typ       string
	values    []string // of the records of the type, without their order
	canonical string   // "": name
	err       error
	tcp       bool // the answer does not fit into UDP
}

func lookupCases() []lookupCase {
	var big, huge, hugeText []string
	for i := range overUDP {
		big = append(big, fmt.Sprintf("198.51.100.%d", i))
	}
	for i := range overLimit {
		huge = append(huge, fmt.Sprintf("10.1.%d.%d", i/256, i%256))
	}
	for i := range 20 {
		hugeText = append(hugeText, fmt.Sprintf(`"%d" "%s"`, i, longText))
	}
	list := func(values ...string) []string { return values }
	long := fmt.Sprintf("%[1]s.%[1]s.%[1]s.%[2]s.example.", longLabel, longLabel[:53])
	return []lookupCase{
		{name: "v4.example.", typ: "A", values: list("192.0.2.1")},
		{name: "v6.example.", typ: "AAAA", values: list("2001:db8::1")},
		{name: "many.example.", typ: "A", values: list("192.0.2.3", "192.0.2.4", "192.0.2.5")},
		{name: "mixed.case.example.", typ: "A", values: list("192.0.2.6")},
		{name: "MIXED.case.EXAMPLE.", typ: "A", values: list("192.0.2.6")},
		{name: "zero.example.", typ: "A", values: list("192.0.2.10")},
		{name: "a.b.wild.example.", typ: "A", values: list("192.0.2.9")},
		{name: "x.wild.example.", typ: "TXT", values: list(`"wild"`)},
		{name: `\000\255\@.octets.example.`, typ: "A", values: list("192.0.2.12")},
		{name: long, typ: "A", values: list("192.0.2.14")},
		{name: "alias.example.", typ: "A", values: list("192.0.2.2"), canonical: "both.example."},
		{name: "chain1.example.", typ: "AAAA", values: list("2001:db8::2"), canonical: "both.example."},
		{name: "alias.example.", typ: "CNAME", values: list("both.example.")},
		{name: "a.tree.example.", typ: "A", values: list("192.0.2.13"), canonical: "a.leaves.example."},
		{name: "mx.example.", typ: "MX", values: list("10 mail1.example.", "20 mail2.example.")},
		{name: "nullmx.example.", typ: "MX", values: list("0 .")},
		{name: "_sip._tcp.example.", typ: "SRV", values: list("10 60 5060 sip1.example.", "20 0 5061 sip2.example.")},
		{name: "text.example.", typ: "TXT", values: list(`"hello" "two parts"`, `"v=spf1 -all"`)},
		{name: "binary.example.", typ: "TXT", values: list(`"\000\127\255\"\\ ;"`)},
		{name: "nothing.example.", typ: "TXT", values: list(`""`)},
		{name: "longtext.example.", typ: "TXT", values: list(fmt.Sprintf(`"%[1]s" "%[1]s" "%[1]s"`, longText))},
		{name: "service.example.", typ: "PTR", values: list(`my\032printer\.2._ipp._tcp.example.`)},
		{name: `My\032Printer\.2._ipp._tcp.example.`, typ: "SRV", values: list("0 0 631 both.example.")},
		{name: "1.2.0.192.in-addr.arpa.", typ: "PTR", values: list("v4.example.")},
		{name: "2.2.0.192.in-addr.arpa.", typ: "PTR", values: list("both.example.", "alias.example.")},
		{name: dnswire.ReverseName(numbered(0)[1].Next()).String(), typ: "PTR", err: dns.ErrNoName},
		{name: "1." + strings.Repeat("0.", 23) + "8.b.d.0.1.0.0.2.ip6.arpa.", typ: "PTR", values: list("v6.example.")},
		{name: "example.", typ: "NS", values: list("ns.example.")},
		{name: "example.", typ: "SOA", values: list("ns.example. mail.example. 1 3600 600 86400 60")},
		{name: "caa.example.", typ: "TYPE257", values: list(`\# 21 000569737375656361` + `2E6578616D706C652E6E6574`)},
		{name: "ssh.example.", typ: "TYPE44", values: list(`\# 34 0402` + strings.ToUpper("123456789abcdef67890123456789abcdef67890123456789abcdef123456789"))},
		{name: "unknown.example.", typ: "TYPE65280", values: list(`\# 4 0A000001`)},
		{name: "big.example.", typ: "A", values: big, tcp: true},
		{name: "huge.example.", typ: "A", values: huge, tcp: true},
		{name: "hugetext.example.", typ: "TXT", values: hugeText, tcp: true},
		{name: "nosuch.example.", typ: "A", err: dns.ErrNoName},
		{name: "nosuch.", typ: "MX", err: dns.ErrNoName},
		{name: "v4.example.", typ: "AAAA", err: dns.ErrNoData},
		{name: "below.example.", typ: "A", err: dns.ErrNoData}, // it has names below it only
		{name: "text.example.", typ: "A", err: dns.ErrNoData},
		{name: "aliasnodata.example.", typ: "A", err: dns.ErrNoData},
		{name: "dangling.example.", typ: "A", err: dns.ErrNoName},
	}
}

// check looks up the case, and compares the answer; same compares texts.
func (c *lookupCase) check(t *testing.T, r *dns.Resolver, d *daemon, same func(a, b string) bool) {
	typ, ok := dnswire.ParseType(c.typ)
	if !ok {
		t.Fatalf("%s is no type", c.typ)
	}
	a, err := r.LookupType(t.Context(), c.name, dns.Type(typ))
	if c.err != nil {
		if !errors.Is(err, c.err) {
			t.Errorf("%+v, %v; want the error %v", a, err, c.err)
		}
		return
	}
	if err != nil {
		t.Error(err)
		return
	}
	var values []string
	for i := range a.Records {
		if a.Records[i].Type == dns.Type(typ) {
			values = append(values, a.Records[i].Value)
		}
	}
	want := slices.Clone(c.values)
	slices.Sort(values)
	slices.Sort(want)
	if !slices.EqualFunc(values, want, same) {
		t.Errorf("the values are\n%q, want\n%q", values, want)
	}
	canonical := c.canonical
	if canonical == "" {
		canonical = c.name
	}
	if strings.HasSuffix(canonical, ".leaves.example.") { // made from the question by a DNAME, perhaps in its random case
		same = strings.EqualFold
	}
	if !same(a.Canonical, canonical) {
		t.Errorf("the canonical name is %s, want %s", a.Canonical, canonical)
	}
	transport := map[bool]string{false: "udp", true: "tcp"}[c.tcp]
	if a.Path != evented(d, transport) {
		t.Errorf("the path is %q, want %q", a.Path, evented(d, transport))
	}
}

// Records of every type come as they are in the zone, whichever server passes them on: over UDP, in the random case of the
// query, and over TCP where they do not fit.
func TestEveryServerHasEveryRecord(t *testing.T) {
	testkit.CheckLeaks(t)
	s := startServers(t)
	for name, d := range map[string]*daemon{"nsd": s.nsd, "unbound": s.unbound, "dnsmasq": s.dnsmasq} {
		t.Run(name, func(t *testing.T) {
			same := func(a, b string) bool { return a == b }
			if d == s.dnsmasq { // the names in its cache have the random case of earlier queries
				same = strings.EqualFold
			}
			r := newResolver(t, dns.Config{CacheEntries: -1}, d.addr)
			for _, c := range lookupCases() {
				t.Run(c.name[:min(len(c.name), 40)]+" "+c.typ, func(t *testing.T) { c.check(t, r, d, same) })
			}
		})
	}
}
