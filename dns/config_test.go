package dns

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

// Limits that are out of range are refused.
func TestBadLimits(t *testing.T) {
	for _, c := range []Config{
		{SocketsPerServer: -1},
		{SocketsPerServer: maxSockets + 1},
		{MaxQueriesPerServer: -1},
		{MaxRatePerServer: -1},
		{SourceAddrs: []netip.Addr{{}}},
		{SourceAddrs: []netip.Addr{netip.MustParseAddr("224.0.0.1")}},
		{SourceAddrs: make([]netip.Addr, maxSockets+1)},
	} {
		if _, err := New(c); !errors.Is(err, pollux.ErrBadArgument) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	l := (&Config{MaxInFlight: 7, SocketsPerServer: 8, MaxQueriesPerServer: 9, MaxRatePerServer: 100}).limitsOf(4)
	if l.Queries != 7 || l.Sockets != 8 || l.PerServer != 2 || l.Interval != 40*time.Millisecond {
		t.Errorf("limits of one of 4 loops: %+v", l)
	}
}

// The slices of the Config may be changed after New, and those of Resolver.Config, too.
func TestConfigSlices(t *testing.T) {
	server, source := netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddr("192.0.2.1")
	given := Config{Servers: []netip.AddrPort{server}, SourceAddrs: []netip.Addr{source}}
	files{}.write(t, &given)
	r := must(New(given))
	defer r.Close()
	for _, c := range []Config{given, r.Config()} {
		c.Servers[0], c.SourceAddrs[0] = netip.AddrPort{}, netip.Addr{}
		if got := r.Config(); got.Servers[0] != server || got.SourceAddrs[0] != source {
			t.Errorf("the resolver has the servers %v and the source addresses %v", got.Servers, got.SourceAddrs)
		}
	}
}

func TestMisuse(t *testing.T) {
	for name, c := range map[string]Config{
		"strategy": {Strategy: 4}, "timeout": {Timeout: -1}, "attempts": {Attempts: -1},
		"server": {Servers: []netip.AddrPort{{}}}, "port": {Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:0")}},
	} {
		if _, err := New(c); !errors.Is(err, pollux.ErrBadArgument) {
			t.Errorf("%s: %v, want ErrBadArgument", name, err)
		}
	}
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		for name, typ := range map[string]Type{"a.": 0, "b.": 255, "a\u200dü.": TypeA, "a..b": TypeA, "": TypeA} {
			if _, err := r.LookupType(r.T.Context(), name, typ); err == nil {
				t.Errorf("%q %v: no error", name, typ)
			}
		}
		if s.Queries[0] != 0 {
			t.Errorf("%d queries", s.Queries[0])
		}
	}, s)
}
