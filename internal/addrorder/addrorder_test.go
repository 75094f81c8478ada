package addrorder

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// A host is a destination and the source address for it, or none.
type host struct{ addr, source string }

func parse(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}

// sources returns the addresses of hosts and the function that returns their sources.
func sources(hosts []host) (addrs []netip.Addr, source func(netip.Addr) netip.Addr) {
	of := map[netip.Addr]netip.Addr{}
	for _, h := range hosts {
		addrs = append(addrs, parse(h.addr))
		of[parse(h.addr)] = parse(h.source)
	}
	return addrs, func(a netip.Addr) netip.Addr { return of[a] }
}

// Each case lists destinations in the right order, which they must get from any order.
func TestSort(t *testing.T) {
	tests := []struct {
		name  string
		hosts []host
	}{
		// RFC 6724, section 10.2, but for two examples of home and deprecated addresses.
		{"matching scope", []host{{"2001:db8:1::1", "2001:db8:1::2"}, {"198.51.100.121", "169.254.13.78"}}},
		{"matching scope of IPv4", []host{{"198.51.100.121", "198.51.100.117"}, {"2001:db8:1::1", "fe80::1"}}},
		{"higher precedence", []host{{"2001:db8:1::1", "2001:db8:1::2"}, {"10.1.2.3", "10.1.2.4"}}},
		{"smaller scope", []host{{"fe80::1", "fe80::2"}, {"2001:db8:1::1", "2001:db8:1::2"}}},
		{"longest matching prefix", []host{{"2001:db8:1::1", "2001:db8:1::2"}, {"2001:db8:3ffe::1", "2001:db8:3f44::2"}}},
		{"matching label", []host{{"2002:c633:6401::1", "2002:c633:6401::2"}, {"2001:db8:1::1", "2002:c633:6401::2"}}},
		{"higher precedence than 6to4", []host{{"2001:db8:1::1", "2001:db8:1::2"}, {"2002:c633:6401::1", "2002:c633:6401::2"}}},

		{"usable", []host{{"10.0.0.1", "10.0.0.2"}, {"2001:db8:1::1", ""}}},
		{"usable, whatever the other rules prefer", []host{{"3ffe::1", "fe80::2"}, {"::1", ""}}},
		{"loopback", []host{{"::1", "::1"}, {"127.0.0.1", "127.0.0.1"}}},
		{"precedences", []host{
			{"::1", "::1"},
			{"2001:db8::1", "2001:db8::2"},
			{"192.0.2.1", "192.0.2.2"},
			{"2002::1", "2002::2"},
			{"2001::1", "2001::2"},
			{"fd00::1", "fd00::2"},
			{"fec0::1", "fec0::2"},
		}},
		{"unique local address from a global one", []host{{"192.0.2.1", "192.0.2.2"}, {"fd00::1", "2001:db8::2"}}},
		{"scopes of multicast", []host{
			{"ff02::1", "fe80::1"},
			{"ff0e::1", "2001:db8::1"},
			{"ff05::1", "2001:db8::1"},
			{"ff08::1", "2001:db8::1"},
		}},
		{"scope before prefix", []host{{"ff0d::1", "ff1d::1"}, {"2001:db8:1::1", "2001:db8:1::2"}}},
		{"site-local address with a zone", []host{{"fec0::1%eth0", "fec0::2%eth0"}, {"3ffe::1", "3ffe::2"}}},
		{"zones", []host{{"fe80::1%eth0", "fe80::2%eth0"}, {"2001:db8:1::1", "2001:db8:1::2"}}},
		{"IPv4 in IPv6 is IPv4", []host{{"::ffff:169.254.0.1", "169.254.0.2"}, {"10.0.0.1", "::ffff:10.0.0.2"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, source := sources(tt.hosts)
			r := rand.New(rand.NewPCG(1, 2))
			for range 20 {
				got := slices.Clone(want)
				r.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
				in := slices.Clone(got)
				Sort(got, source)
				if !slices.Equal(got, want) {
					t.Fatalf("Sort(%v) = %v, want %v", in, got, want)
				}
			}
		})
	}
}

// Destinations that are equal by the rules stay in order: a server rotates them on purpose.
func TestSortIsStable(t *testing.T) {
	tests := map[string][]host{
		"IPv4, whose prefixes are not compared": {
			{"54.83.193.112", "10.2.3.4"},
			{"184.72.238.214", "10.2.3.4"},
			{"23.23.172.185", "10.2.3.4"},
			{"10.2.3.5", "10.2.3.4"},
			{"::ffff:10.2.3.6", "::ffff:10.2.3.4"},
		},
		"IPv6 beyond the network's 64 bits": {
			{"2001:db8::8000:0:0:1", "2001:db8::2"},
			{"2001:db8::3", "2001:db8::2"},
			{"2001:db8::ffff:0:0:1", "2001:db8::2"},
		},
		"without a source": {{"fec0::1", ""}, {"::1", ""}, {"10.0.0.1", ""}, {"2001:db8::1", ""}},
	}
	for name, hosts := range tests {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				want, source := sources(hosts)
				got := slices.Clone(want)
				Sort(got, source)
				if !slices.Equal(got, want) {
					t.Errorf("Sort(%v) = %v, want no change", want, got)
				}
				slices.Reverse(hosts)
			}
		})
	}
}

// The same with more addresses than an unstable sort keeps in order, of two ranks.
func TestSortOfMany(t *testing.T) {
	var in, want, later []netip.Addr
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 200 {
		a, list := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), &later
		if r.IntN(2) == 0 {
			a, list = netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 15: byte(i)}), &want
		}
		in = append(in, a)
		*list = append(*list, a)
	}
	want = append(want, later...)
	Sort(in, func(a netip.Addr) netip.Addr { return a })
	if !slices.Equal(in, want) {
		t.Errorf("Sort returned %v, want %v", in, want)
	}
}

// The source is looked up only if there is a choice, and once for each address.
func TestSourceCalls(t *testing.T) {
	for n := range 5 {
		addrs, calls := make([]netip.Addr, n), 0
		for i := range addrs {
			addrs[i] = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		}
		Sort(addrs, func(a netip.Addr) netip.Addr { calls++; return a })
		want := n
		if n == 1 {
			want = 0
		}
		if calls != want {
			t.Errorf("Sort of %d addresses looked up %d sources, want %d", n, calls, want)
		}
	}
}

func TestScope(t *testing.T) {
	tests := map[string]scope{
		"127.0.0.1": scopeLinkLocal, "127.255.0.1": scopeLinkLocal, "::1": scopeLinkLocal,
		"169.254.1.2": scopeLinkLocal, "fe80::1": scopeLinkLocal, "febf::1": scopeLinkLocal,
		"fec0::1": scopeSiteLocal, "feff::1": scopeSiteLocal,
		"8.8.8.8": scopeGlobal, "10.0.0.1": scopeGlobal, "fd00::1": scopeGlobal, "2001:db8::1": scopeGlobal,
		"224.0.0.0": scopeGlobal, "224.2.2.2": scopeGlobal, // not IPv6
		"ff01::1": 1, "ff02::": scopeLinkLocal, "ff04::": 4, "ff05::": scopeSiteLocal, "ff0e::": scopeGlobal, "ff3f::": maxScope,
	}
	for addr, want := range tests {
		if got := scopeOf(netip.MustParseAddr(addr)); got != want {
			t.Errorf("scopeOf(%s) = %d, want %d", addr, got, want)
		}
	}
}

func TestPolicies(t *testing.T) {
	tests := map[string][2]uint8{ // precedence, label
		"::1": {50, 0}, "127.0.0.1": {35, 4}, "::ffff:127.0.0.1": {35, 4}, "::127.0.0.1": {1, 3}, "::2": {1, 3},
		"2001::1": {5, 5}, "2001:1::1": {40, 1}, "2002::ab12": {30, 2}, "3ffe::1": {1, 12}, "3fff::1": {40, 1},
		"fec0::1": {1, 11}, "fe80::1": {40, 1}, "fc00::1": {3, 13}, "fdff::1": {3, 13}, "ff02::1": {40, 1},
		"2601:645:8002:a500:986f:1db8:c836:bd65": {40, 1},
	}
	for addr, want := range tests {
		if p := policyOf(netip.MustParseAddr(addr)); p.precedence != want[0] || p.label != want[1] {
			t.Errorf("policyOf(%s) = %d, label %d, want %v", addr, p.precedence, p.label, want)
		}
	}
	for i, p := range policies[1:] {
		if p.prefix.Bits() > policies[i].prefix.Bits() {
			t.Errorf("%v comes after the shorter %v", p.prefix, policies[i].prefix)
		}
	}
}

func TestCommonPrefix(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"fe80::1", "fe80::2", 64},
		{"fe81::1", "fe80::2", 15},
		{"::", "8000::", 0},
		{"2001:db8:0:1::", "2001:db8::", 63},
		{"2001:db8::", "2001:db8::", 64},
		{"127.0.0.1", "fe80::1", 0},
		{"127.0.0.1", "127.0.0.1", 0},
	}
	for _, tt := range tests {
		if got := commonPrefix(netip.MustParseAddr(tt.a), netip.MustParseAddr(tt.b)); got != tt.want {
			t.Errorf("commonPrefix(%s, %s) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// The families alternate after the first ones, and no address is lost or moved within its family.
func TestInterleave(t *testing.T) {
	all := map[byte]netip.Addr{}
	for i := range 9 {
		all['1'+byte(i)] = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		all['a'+byte(i)] = netip.AddrFrom16([16]byte{0: 0x20, 15: byte(i)})
	}
	all['M'] = netip.MustParseAddr("::ffff:10.0.0.99") // IPv4
	tests := []struct {
		first    int
		in, want string
	}{
		{1, "", ""},
		{1, "a", "a"},
		{1, "abc", "abc"},
		{1, "abc123", "a1b2c3"},
		{1, "123abc", "1a2b3c"},
		{1, "1abcd", "1abcd"},
		{1, "abcd1", "a1bcd"},
		{1, "ab12345", "a1b2345"},
		{2, "abcd123", "ab1c2d3"},
		{9, "ab12", "ab12"},
		{0, "ab12", "a1b2"},
		{-1, "ab12", "a1b2"},
		{1, "a1b2", "a1b2"},
		{1, "abM1", "aMb1"},
	}
	for _, tt := range tests {
		var in, want []netip.Addr
		for i := range tt.in {
			in = append(in, all[tt.in[i]])
			want = append(want, all[tt.want[i]])
		}
		before := slices.Clone(in)
		if got := Interleave(in, tt.first); !slices.Equal(got, want) {
			t.Errorf("Interleave(%q, %d) = %v, want %v", tt.in, tt.first, got, want)
		}
		if !slices.Equal(in, before) {
			t.Errorf("Interleave(%q, %d) changed its argument", tt.in, tt.first)
		}
	}
}

func BenchmarkSort(b *testing.B) {
	hosts := []host{
		{"2001:db8:1::1", "2001:db8:1::2"},
		{"198.51.100.121", "169.254.13.78"},
		{"2001:db8:3ffe::1", "2001:db8:3f44::2"},
		{"10.1.2.3", "10.1.2.4"},
	}
	addrs, source := sources(hosts)
	b.ReportAllocs()
	for b.Loop() {
		Sort(addrs, source)
	}
}

// After an address, the other family has its turn.
func TestInterleaveAfter(t *testing.T) {
	for _, c := range []struct{ last, addrs, want string }{
		{"10.0.0.9", "", "[]"},
		{"10.0.0.9", "10.0.0.1 10.0.0.2", "[10.0.0.1 10.0.0.2]"},
		{"10.0.0.9", "::1 ::2 10.0.0.1", "[::1 10.0.0.1 ::2]"},
		{"10.0.0.9", "10.0.0.1 10.0.0.2 ::1 ::2", "[::1 10.0.0.1 ::2 10.0.0.2]"},
		{"::ffff:10.0.0.9", "10.0.0.1 ::1", "[::1 10.0.0.1]"},
		{"::9", "::1 10.0.0.1 10.0.0.2", "[10.0.0.1 ::1 10.0.0.2]"},
	} {
		var addrs []netip.Addr
		for _, a := range strings.Fields(c.addrs) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		before := fmt.Sprint(addrs)
		if got := fmt.Sprint(InterleaveAfter(netip.MustParseAddr(c.last), addrs)); got != c.want || fmt.Sprint(addrs) != before {
			t.Errorf("after %s: %s, want %s; the argument is %v, was %s", c.last, got, c.want, addrs, before)
		}
	}
}
