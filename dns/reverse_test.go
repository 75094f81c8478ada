package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

// The names of an address are those of the hosts file, or else of DNS, aliases of RFC 2317 followed.
func TestLookupAddr(t *testing.T) {
	s := &exchangetest.Server{UDP: netRecords.udp}
	f := files{hosts: "192.0.2.7 Printer printer.home\n2001:db8::7 printer drücker\n"}
	onResolver(t, Config{}, f, func(r *testResolver) {
		for addr, want := range map[string]string{
			"192.0.2.7":        "hosts Printer. printer.home.",
			"::ffff:192.0.2.7": "hosts Printer. printer.home.",
			"2001:db8::7%eth0": "hosts printer. xn--drcker-4ya.",
			"192.0.2.1":        "evented 10.0.1.0:53 udp a.example.",
		} {
			a, err := r.LookupAddr(r.T.Context(), netip.MustParseAddr(addr))
			results := make(chan Answer, 1)
			r.LookupAddrFunc(r.Loop, netip.MustParseAddr(addr), func(a Answer, err error) { results <- a })
			for i, a := range []Answer{a, <-results} {
				got := string(a.Path)
				for _, rec := range a.ByPriority() {
					got += " " + rec.Target
				}
				if i == 1 && addr == "192.0.2.1" {
					want = "cache a.example."
				}
				if err != nil || got != want || a.Type != TypePTR || a.Name != dnswire.ReverseName(netip.MustParseAddr(addr)).String() {
					t.Errorf("%s: %q, %v, %+v; want %q", addr, got, err, a, want)
				}
			}
		}
		queries := s.Queries[0]
		if _, err := r.LookupAddr(r.T.Context(), netip.Addr{}); !errors.Is(err, pollux.ErrBadArgument) || s.Queries[0] != queries {
			t.Errorf("%v for the zero Addr, want ErrBadArgument", err)
		}
		if _, err := r.LookupAddr(r.T.Context(), netip.MustParseAddr("2001:db8::9")); !errors.Is(err, ErrNoName) {
			t.Errorf("%v, want ErrNoName", err)
		}
	}, s)
}

func TestAddrOfReverse(t *testing.T) {
	for _, addr := range []string{"192.0.2.1", "0.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::abcd", "fe80::1"} {
		name := dnswire.ReverseName(netip.MustParseAddr(addr)).String()
		for _, name := range []string{name, name[:len(name)-1], strings.ToUpper(name)} {
			if got, ok := addrOfReverse(name); !ok || got.String() != addr {
				t.Errorf("%s: %v, %v; want %s", name, got, ok, addr)
			}
		}
	}
	zeros := fmt.Sprintf("%063s", "")
	for _, name := range []string{
		"", ".", "in-addr.arpa.", ".in-addr.arpa.", "2.0.192.in-addr.arpa.", "1.0/8.2.0.192.in-addr.arpa.", "01.2.0.192.in-addr.arpa.",
		"1.2.0.256.in-addr.arpa.", "ip6.arpa.", zeros + ".ip6.arpa.", "1.0.ip6.arpa.", "1.2.0.192.in-addr.arpa..", "::1.in-addr.arpa",
	} {
		if got, ok := addrOfReverse(name); ok {
			t.Errorf("%q: %v", name, got)
		}
	}
}
