package dnsconf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const hostsFile = "127.0.0.1\tlocalhost\r\n" +
	"::1 localhost ip6-localhost ip6-loopback # comment\n" +
	"  192.0.2.1  WWW.Example.com www alias.example.com.#comment\n" +
	"2001:db8::1 www.example.COM\n" +
	"192.0.2.1 www.example.com second.example\n" +
	"# 192.0.2.9 commented.example\n" +
	"fe80::1%eth0 zoned\n" +
	"::ffff:192.0.2.7 mapped\n" +
	"192.0.2.5 first alias\n" +
	"192.0.2.6 alias\n" +
	"192.0.2.8 under_score \xc3\xbc.example\n"

func TestParseHosts(t *testing.T) {
	h, warned := ParseHosts(hostsFile)
	checkWarnings(t, warned)
	for name, want := range map[string]string{
		"localhost":              "localhost [127.0.0.1 ::1]",
		"LOCALHOST.":             "localhost [127.0.0.1 ::1]",
		"ip6-loopback":           "localhost [::1]",
		"www.example.com":        "www.example.com [192.0.2.1 2001:db8::1]",
		"Www.Example.Com.":       "www.example.com [192.0.2.1 2001:db8::1]",
		"www":                    "www.example.com [192.0.2.1]",
		"alias.example.com":      "www.example.com [192.0.2.1]",
		"second.example":         "www.example.com [192.0.2.1]",
		"zoned":                  "zoned [fe80::1%eth0]",
		"mapped":                 "mapped [192.0.2.7]",
		"alias":                  "first [192.0.2.5 192.0.2.6]",
		"under_score":            "under_score [192.0.2.8]",
		"\xc3\xbc.example":       "under_score [192.0.2.8]",
		"commented.example":      " []",
		"com":                    " []",
		"":                       " []",
		".":                      " []",
		"www.example.com..":      " []",
		"localhost#comment":      " []",
		strings.Repeat("a", 999): " []",
	} {
		addrs, canonical, ok := h.Lookup(name)
		if got := fmt.Sprint(canonical, " ", addrs); got != want || ok != (len(addrs) > 0) {
			t.Errorf("Lookup(%q) = %s, %v; want %s", name, got, ok, want)
		}
	}
	for addr, want := range map[string][]string{
		"192.0.2.1":        {"WWW.Example.com", "www", "alias.example.com", "second.example"},
		"::ffff:192.0.2.1": {"WWW.Example.com", "www", "alias.example.com", "second.example"},
		"::1":              {"localhost", "ip6-localhost", "ip6-loopback"},
		"fe80::1%eth0":     {"zoned"},
		"fe80::1":          nil,
		"192.0.2.9":        nil,
	} {
		if got := h.Reverse(netip.MustParseAddr(addr)); !slices.Equal(got, want) {
			t.Errorf("Reverse(%s) = %q, want %q", addr, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { h.Lookup("www.example.com."); h.Lookup("missing") }); n != 0 {
		t.Errorf("Lookup allocates %v times", n)
	}
}

func TestParseHostsGarbage(t *testing.T) {
	h, warned := ParseHosts("192.0.2.1\n" +
		"localhost 127.0.0.1\n" +
		"127.1 short\n" +
		"192.0.2.256 x\n" +
		"192.0.2.2 . a..b a.. a\\. " + strings.Repeat("x", 64) + " good\n" +
		"\x00\xff\x1b[2J\n" +
		"fe80::1%\x1b[2J zoned\n" +
		"192.0.2.3 last")
	checkWarnings(t, warned, "1:invalid", "2:invalid", "3:invalid", "4:invalid", "5:invalid", "5:invalid", "5:invalid", "5:invalid", "5:invalid", "6:invalid", "7:invalid")
	if addrs, canonical, ok := h.Lookup("good"); !ok || canonical != "good" || len(addrs) != 1 {
		t.Errorf("the valid name of a line with invalid ones: %v, %q, %v", addrs, canonical, ok)
	}
	if _, _, ok := h.Lookup("last"); !ok || h.Len() != 2 {
		t.Errorf("%d names, want 2; the last line is found: %v", h.Len(), ok)
	}
}

// A name with very many addresses, and an address with very many names, cost bounded time and memory.
func TestHostsAreBounded(t *testing.T) {
	var b strings.Builder
	const n = 4 * MaxHostAddrs
	for i := range n {
		fmt.Fprintf(&b, "10.0.%d.%d many\n0.0.0.0 blocked%d.example\n", i>>8, i&255, i)
	}
	h, warned := ParseHosts(b.String())
	if addrs, _, _ := h.Lookup("many"); len(addrs) != MaxHostAddrs {
		t.Errorf("%d addresses, want %d", len(addrs), MaxHostAddrs)
	}
	if len(warned) != maxWarnings || warned[0].Kind != Limited {
		t.Errorf("%d warnings, the first %v", len(warned), warned[0])
	}
	for i := range n {
		if _, _, ok := h.Lookup(fmt.Sprintf("blocked%d.example", i)); !ok {
			t.Fatalf("name %d of an address is lost", i)
		}
	}
	if got := len(h.Reverse(netip.MustParseAddr("0.0.0.0"))); got != MaxHostAddrs {
		t.Errorf("%d names of an address, want %d", got, MaxHostAddrs)
	}
}

func BenchmarkHostsLookup(b *testing.B) {
	h, _ := ParseHosts(hostsFile)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := h.Lookup("www.example.com"); !ok {
			b.Fatal("not found")
		}
	}
}

func BenchmarkParseHosts(b *testing.B) {
	var data strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&data, "0.0.0.0 blocked%d.example\n", i)
	}
	b.SetBytes(int64(data.Len()))
	b.ReportAllocs()
	for b.Loop() {
		ParseHosts(data.String())
	}
}

func BenchmarkNames(b *testing.B) {
	r, _ := ParseResolv("search a.example b.example\noptions ndots:5", Environment{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Names("www.example.com"); err != nil {
			b.Fatal(err)
		}
	}
}
