package dns

import (
	"errors"
	"testing"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

// What is known is answered without a server.
func TestInline(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onResolver(t, Config{}, files{hosts: testHosts}, func(r *testResolver) {
		r.wantAnswer("192.0.2.9", PathLiteral, "192.0.2.9")
		r.wantAnswer("fe80::1%eth0", PathLiteral, "fe80::1%eth0")
		r.wantAnswer("LocalHost", PathLocalhost, "127.0.0.1", "::1")
		r.wantAnswer("a.localhost.", PathLocalhost, "127.0.0.1", "::1")
		r.wantAnswer("PRINTER", PathHosts, "192.0.2.7", "2001:db8::7")
		if a := r.wantAnswer("printer.home", PathHosts, "192.0.2.7"); a.Canonical != "printer" {
			t.Errorf("canonical name %q", a.Canonical)
		}
		a, err := r.LookupType(r.T.Context(), "::ffff:192.0.2.9", TypeA)
		if err != nil || len(a.Addrs) != 1 || a.Path != PathLiteral {
			t.Errorf("%+v, %v, want the IPv4-mapped address", a, err)
		}
		a, err = r.LookupType(r.T.Context(), "printer", TypeAAAA)
		if err != nil || len(a.Addrs) != 1 || !a.Addrs[0].Is6() || a.Type != TypeAAAA {
			t.Errorf("%+v, %v", a, err)
		}
		for name, typ := range map[string]Type{"printer.home": TypeAAAA, "9.2.0.192.in-addr.arpa.": TypePTR} {
			a, err := r.LookupInline(name, typ)
			if !errors.Is(err, ErrNotInline) || a.Name != "" || a.Path != "" {
				t.Errorf("%s %v: %+v, %v, want ErrNotInline and no answer", name, typ, a, err)
			}
		}
		if s.Queries[0] != 0 || r.Client.Descriptors() != 0 {
			t.Errorf("%d queries, %d sockets", s.Queries[0], r.Client.Descriptors())
		}
	}, s)
}
