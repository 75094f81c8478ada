package dnstest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// Ten thousand names, with two queries each, have their own addresses.
func TestTenThousandNames(t *testing.T) {
	testkit.CheckLeaks(t)
	for _, program := range []string{"nsd", "unbound"} {
		path(t, program)
	}
	d := startDaemon(t, unbound(t, startDaemon(t, nsd(t)).addr))
	g := must(loop.NewGroup(loop.Config{Loops: 2}))
	defer g.Shutdown(context.Background())
	r := newResolver(t, dns.Config{Group: g}, d.addr)
	const inFlight = 100 // what the receive buffers of the servers have room for
	slots := make(chan struct{}, inFlight)
	wrong := make(chan string, names)
	for i := range names {
		slots <- struct{}{}
		want := numbered(i)
		r.LookupFunc(g.Loops()[i%2], fmt.Sprintf("n%d.example.", i), func(a dns.Answer, err error) {
			if err != nil || len(a.Addrs) != 2 || !slices.Contains(a.Addrs, want[0]) || !slices.Contains(a.Addrs, want[1]) {
				wrong <- fmt.Sprintf("n%d: %v, %v; want %v", i, a.Addrs, err, want)
			}
			<-slots
		})
	}
	for range inFlight {
		slots <- struct{}{}
	}
	close(wrong)
	if n := len(wrong); n > 0 {
		t.Errorf("%d of %d names are wrong, such as %s", n, names, <-wrong)
	}
}

// The search list is tried in order, until a name has an address.
func TestSearchListAtAServer(t *testing.T) {
	testkit.CheckLeaks(t)
	s := startServers(t)
	conf := write(t, t.TempDir(), "resolv.conf", "search corp.example example other\noptions ndots:2\n")
	for name, d := range map[string]*daemon{"unbound": s.unbound, "dnsmasq": s.dnsmasq} {
		r := newResolver(t, dns.Config{ResolvConf: conf}, d.addr)
		for host, want := range map[string][2]string{
			"www": {"www.corp.example.", "192.0.2.90"}, "v4": {"v4.example.", "192.0.2.1"}, "target": {"target.other.", "192.0.2.70"},
			"empty": {"", ""}, "v4.example": {"v4.example.", "192.0.2.1"}, "a.b": {"a.b.corp.example.", "192.0.2.92"}, "www.": {"", ""},
		} {
			a, err := r.LookupType(t.Context(), host, dns.TypeA)
			if want[0] == "" {
				if !errors.Is(err, dns.ErrNotFound) {
					t.Errorf("%s, %s: %+v, %v; want ErrNotFound", name, host, a, err)
				}
				continue
			}
			if err != nil || a.Canonical != want[0] || len(a.Addrs) != 1 || a.Addrs[0].String() != want[1] {
				t.Errorf("%s, %s: %+v, %v; want %v", name, host, a, err, want)
			}
		}
	}
}

// A name is connected to by whichever of its addresses has a listener: the others refuse.
func TestDialByName(t *testing.T) {
	testkit.CheckLeaks(t)
	s := startServers(t)
	ln := must(net.Listen("tcp4", "127.0.0.1:0"))
	defer ln.Close()
	port := netip.MustParseAddrPort(ln.Addr().String()).Port()
	for _, d := range []*daemon{s.unbound, s.dnsmasq} {
		r := newResolver(t, dns.Config{}, d.addr)
		closed := make(chan error, 1)
		dialer := dns.Dialer{Resolver: r}
		accept := func(*loop.Conn) loop.Handler { return sink(closed) }
		c, err := dialer.Dial(t.Context(), "tcp", fmt.Sprintf("listener.example.:%d", port), accept)
		if err != nil {
			t.Fatal(err)
		}
		peer := must(ln.Accept())
		if c.RemoteAddr().String() != ln.Addr().String() || peer.RemoteAddr().String() != c.LocalAddr().String() {
			t.Errorf("connected to %v from %v; the listener is %v, and its peer %v", c.RemoteAddr(), c.LocalAddr(), ln.Addr(), peer.RemoteAddr())
		}
		peer.Close()
		c.Close()
		<-closed
	}
	ln.Close()
	r := newResolver(t, dns.Config{}, s.unbound.addr)
	dialer := dns.Dialer{Resolver: r}
	if c, err := dialer.Dial(t.Context(), "tcp", fmt.Sprintf("closed.example.:%d", port), func(*loop.Conn) loop.Handler { return sink(nil) }); err == nil {
		t.Errorf("connected to %v, which nothing listens at", c.RemoteAddr())
	} else if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v; want ECONNREFUSED", err)
	}
}

// sink consumes what it receives, and delivers the reason of the end.
type sink chan error

func (sink) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }
func (s sink) Closed(_ *loop.Conn, why error)         { s <- why }
