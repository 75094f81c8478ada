package dns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// realZone has the names of realServer.
var realZone = zone{"a.": {exchangetest.TrueAddr}, "long.": {exchangetest.TrueAddr}, "here.": {"127.0.0.1"}}

// A realServer is a DNS server of package loop on the system's loopback. It answers for each name nN with its
// own address, for those of realZone, and never for those that begin with "silent". Names that begin with "long" are
// truncated over UDP.
type realServer struct{ addr netip.AddrPort }

var (
	_ loop.PacketHandler = realServer{}
	_ loop.Handler       = realServer{}
)

func (realServer) answer(query []byte) exchangetest.Message {
	name, typ := questionOf(query)
	var n byte
	if _, err := fmt.Sscanf(name, "n%d.", &n); err != nil {
		return realZone.answer(query)
	}
	if typ == TypeAAAA {
		return exchangetest.AnswerTo(query)
	}
	return exchangetest.AnswerTo(query, numberedAddr(int(n)))
}

// numberedAddr is the address of the name nN.
func numberedAddr(n int) string { return fmt.Sprintf("192.0.2.%d", n) }

func (s realServer) Packets(p *loop.PacketConn, ms []sock.Message) {
	for _, m := range ms {
		query := m.Data[:m.N]
		switch name, _ := questionOf(query); {
		case strings.HasPrefix(name, "silent"):
		case strings.HasPrefix(name, "long"):
			p.WriteTo(s.answer(query).Truncated(), m.Addr)
		default:
			p.WriteTo(s.answer(query), m.Addr)
		}
	}
}

func (s realServer) Data(c *loop.Conn, b []byte) (int, error) {
	all := bytes.NewReader(b)
	for consumed := 0; ; consumed = len(b) - all.Len() {
		query, err := exchangetest.ReadFrame(all)
		if err != nil { // the rest follows
			return consumed, nil
		}
		c.Write(exchangetest.Frame(s.answer(query)))
	}
}

// startServer starts a realServer on a backend; "" is the default.
func startServer(t testing.TB, backend string) realServer {
	t.Helper()
	g := must(loop.NewGroup(loop.Config{Loops: 1, Backend: backend}))
	t.Cleanup(func() { g.Shutdown(context.Background()) })
	for range 20 {
		ln := must(g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return realServer{} }))
		if _, err := g.ListenPacket("udp", ln.Addr().String(), func(*loop.PacketConn) loop.PacketHandler { return realServer{} }); err == nil {
			return realServer{netip.MustParseAddrPort(ln.Addr().String())}
		}
		ln.Close() // another process has the port of UDP
	}
	t.Fatal("no port is free for both TCP and UDP")
	panic("unreachable")
}

// onBackends runs f with a resolver on each backend that this machine has, and a server on the same.
func onBackends(t *testing.T, f func(t *testing.T, r *Resolver, s realServer)) {
	t.Helper()
	for _, b := range loop.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			testkit.SkipBackend(t, b.Name, b.Usable, b.Why)
			g := must(loop.NewGroup(loop.Config{Loops: 2, Backend: b.Name}))
			t.Cleanup(func() { g.Shutdown(context.Background()) })
			s := startServer(t, b.Name)
			c := Config{Group: g, Servers: []netip.AddrPort{s.addr}, Timeout: testkit.Watchdog}
			files{}.write(t, &c)
			r := must(New(c))
			defer r.Close()
			f(t, r, s)
		})
	}
}

// Every backend of this machine resolves names, over UDP and TCP, and releases its sockets.
func TestBackends(t *testing.T) {
	onBackends(t, func(t *testing.T, r *Resolver, s realServer) {
		for name, want := range map[string]string{"a.": "udp", "long.": "tcp"} {
			a, err := r.Lookup(t.Context(), name)
			if err != nil || len(a.Addrs) != 1 || a.Addrs[0].String() != exchangetest.TrueAddr || a.Path != Path("evented "+s.addr.String()+" "+want) {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		}
		if _, err := r.Lookup(t.Context(), "absent."); !errors.Is(err, ErrNoName) {
			t.Errorf("%v, want ErrNoName", err)
		}
	})
}

// Many lookups at once get the addresses of their own names, on every backend.
func TestBackendsMany(t *testing.T) {
	const lookups = 64 // two queries each, for which the server's receive buffer has space on every system
	onBackends(t, func(t *testing.T, r *Resolver, _ realServer) {
		var all sync.WaitGroup
		for i := range lookups {
			all.Go(func() {
				a, err := r.Lookup(t.Context(), fmt.Sprintf("n%d.", i))
				if err != nil || len(a.Addrs) != 1 || a.Addrs[0].String() != numberedAddr(i) {
					t.Errorf("n%d.: %+v, %v", i, a, err)
				}
			})
		}
		all.Wait()
	})
}

// Lookups that no server answers end when they are canceled or the resolver is closed, on every backend, and release
// their sockets.
func TestBackendsEnd(t *testing.T) {
	onBackends(t, func(t *testing.T, r *Resolver, _ realServer) {
		results := make(chan error, 2)
		l := r.config.Group.Loops()[0]
		canceled := r.LookupFunc(l, "silent1.", func(_ Answer, err error) { results <- err })
		r.LookupFunc(l, "silent2.", func(_ Answer, err error) { results <- err })
		if _, err := r.Lookup(t.Context(), "a."); err != nil { // in the meantime
			t.Error(err)
		}
		canceled.Cancel()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context.Canceled", err)
		}
		r.Close()
		if err := <-results; !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	})
}

// A Dialer connects to a name on every backend.
func TestBackendsDial(t *testing.T) {
	onBackends(t, func(t *testing.T, r *Resolver, s realServer) {
		d := Dialer{Resolver: r}
		closed := make(chan error, 1)
		address := net.JoinHostPort("here.", fmt.Sprint(s.addr.Port()))
		c, err := d.Dial(t.Context(), "tcp", address, func(*loop.Conn) loop.Handler { return sink{closed} })
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if err := <-closed; err != nil {
			t.Errorf("%v, want nil after Close", err)
		}
	})
}

// An unspecified address of a server stands for this machine, as for the system's resolver: responses come from the
// loopback address.
func TestUnspecifiedServer(t *testing.T) {
	testkit.CheckLeaks(t)
	s := startServer(t, "")
	c := Config{Servers: []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), s.addr.Port())}, Strategy: Evented}
	files{}.write(t, &c)
	r := must(New(c))
	defer r.Close()
	if a, err := r.Lookup(t.Context(), "a."); err != nil || a.Path != Path("evented "+s.addr.String()+" udp") {
		t.Errorf("%+v, %v", a, err)
	}
	v6 := reachable([]netip.AddrPort{netip.MustParseAddrPort("[::]:53"), netip.MustParseAddrPort("[::ffff:0.0.0.0]:53"), s.addr})
	if want := []netip.AddrPort{netip.MustParseAddrPort("[::1]:53"), netip.MustParseAddrPort("127.0.0.1:53"), s.addr}; !slices.Equal(v6, want) {
		t.Errorf("%v, want %v", v6, want)
	}
}

// Connections are made on the loops of Dialer.Group, whose callbacks must not wait for them, even if the resolver has others.
func TestDialerGroup(t *testing.T) {
	onBackends(t, func(t *testing.T, r *Resolver, s realServer) {
		g := must(loop.NewGroup(loop.Config{Loops: 1}))
		defer g.Shutdown(t.Context())
		d := Dialer{Resolver: r, Group: g}
		address := net.JoinHostPort("here.", fmt.Sprint(s.addr.Port()))
		closed := make(chan error, 1)
		accept := func(*loop.Conn) loop.Handler { return sink{closed} }
		onLoop := make(chan error, 1)
		g.Loops()[0].Run(func() {
			_, err := d.Dial(t.Context(), "tcp", address, accept)
			onLoop <- err
		})
		if err := <-onLoop; !errors.Is(err, loop.ErrOnLoop) {
			t.Errorf("%v, want ErrOnLoop", err)
		}
		c, err := d.Dial(t.Context(), "tcp", address, accept)
		if err != nil {
			t.Fatal(err)
		}
		if c.Loop() != g.Loops()[0] {
			t.Error("the connection is not on the loop of the group")
		}
		c.Close()
		<-closed
	})
}

// Without a group, the resolver has a loop of its own, from the first lookup that needs it.
func TestOwnGroup(t *testing.T) {
	testkit.CheckLeaks(t)
	c := Config{Servers: []netip.AddrPort{startServer(t, "").addr}}
	files{}.write(t, &c)
	r := must(New(c))
	defer r.Close()
	if a, err := r.Lookup(t.Context(), "192.0.2.3"); err != nil || r.own != nil {
		t.Errorf("%+v, %v; a group for a literal: %v", a, err, r.own != nil)
	}
	if a, err := r.Lookup(t.Context(), "a."); err != nil || a.Addrs[0].String() != exchangetest.TrueAddr {
		t.Errorf("%+v, %v", a, err)
	}
}

// What is known costs no time, and of memory only the slice of addresses.
func TestInlineAllocations(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	c := Config{Servers: []netip.AddrPort{startServer(t, "").addr}}
	files{hosts: testHosts}.write(t, &c)
	r := must(New(c))
	defer r.Close()
	r.Lookup(t.Context(), "a.")
	for name, most := range map[string]float64{"192.0.2.3": 1, "2001:db8::1": 1, "localhost": 2, "printer": 2, "a.": 0} {
		if n := testing.AllocsPerRun(100, func() { r.Lookup(t.Context(), name) }); n > most {
			t.Errorf("%s: %v allocations, want %v at most", name, n, most)
		}
	}
}

// reportCPU reports the processor time of an operation, which is what counts on a busy machine.
func reportCPU(b *testing.B, before time.Duration) {
	if after, ok := testkit.CPUTime(); ok {
		b.ReportMetric(float64(after-before)/float64(b.N), "cpu-ns/op")
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, bench := range []struct{ name, host string }{
		{"Literal", "192.0.2.3"}, {"Localhost", "localhost"}, {"Hosts", "printer"}, {"Cache", "a."},
	} {
		b.Run(bench.name, func(b *testing.B) {
			c := Config{Servers: []netip.AddrPort{startServer(b, "").addr}}
			files{hosts: testHosts}.write(b, &c)
			r := must(New(c))
			defer r.Close()
			ctx := b.Context()
			r.Lookup(ctx, bench.host)
			b.ReportAllocs()
			before, _ := testkit.CPUTime()
			for b.Loop() {
				r.Lookup(ctx, bench.host)
			}
			reportCPU(b, before)
		})
	}
	b.Run("Evented", func(b *testing.B) {
		c := Config{Servers: []netip.AddrPort{startServer(b, "").addr}, CacheEntries: -1}
		files{}.write(b, &c)
		r := must(New(c))
		defer r.Close()
		ctx, start := b.Context(), time.Now()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.LookupType(ctx, "a.", TypeA); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "lookups/s")
	})
}
