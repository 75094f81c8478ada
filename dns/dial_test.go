package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// A dialTest is a target with two addresses of each family, and the times at which each got a SYN.
type dialTest struct {
	*testResolver
	dialer  Dialer
	targets map[string]*looptest.Host
	syns    []string
	at      []time.Duration
	opened  int
}

type sink struct{ closed chan error }

func (sink) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }
func (s sink) Closed(_ *loop.Conn, why error)         { s.closed <- why }

var targetAddrs = []string{"2001:db8:1::1", "2001:db8:1::2", "10.1.0.1", "10.1.0.2"}

// onDialTest runs f with targets that listen; delay is how late the DNS server answers for AAAA.
func onDialTest(t *testing.T, delay time.Duration, f func(d *dialTest)) {
	t.Helper()
	z := zone{"target.": targetAddrs, "four.": {"10.1.0.1"}}
	s := &exchangetest.Server{UDP: z.udp}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		d := &dialTest{testResolver: r, dialer: Dialer{Resolver: r.Resolver}, targets: map[string]*looptest.Host{}}
		for _, a := range targetAddrs {
			h := r.Network.Host(netip.MustParseAddr(a))
			d.targets[a] = h
			ln := must(h.Listen("tcp", ":80"))
			r.T.Cleanup(func() { ln.Close() })
		}
		began := time.Now()
		r.Network.SetRule(func(seg *looptest.Segment) looptest.Verdict {
			switch {
			case seg.Kind == looptest.SYN && seg.Attempt == 0:
				d.syns = append(d.syns, seg.To.Addr().String())
				d.at = append(d.at, time.Since(began).Round(10*time.Millisecond)) // timers are a little late
			case delay > 0 && seg.Kind == looptest.Datagram && seg.To.Port() == 53:
				if _, typ := questionOf(seg.Data); typ == TypeAAAA {
					return looptest.Delay(delay)
				}
			}
			return looptest.Pass
		})
		f(d)
		time.Sleep(2 * time.Second)
	}, s)
}

func (d *dialTest) accept(*loop.Conn) loop.Handler {
	d.opened++
	return sink{make(chan error, 1)}
}

func (d *dialTest) dial(address string) (*loop.Conn, error) {
	return d.dialer.Dial(d.T.Context(), "tcp", address, d.accept)
}

// want checks the order and the times of the attempts, and that one connection is open.
func (d *dialTest) want(c *loop.Conn, err error, remote string, syns []string, at ...time.Duration) {
	d.T.Helper()
	if err != nil {
		d.T.Fatal(err)
	}
	if !slices.Equal(d.syns, syns) || !slices.Equal(d.at, at) || c.RemoteAddr().String() != remote || d.opened != 1 {
		d.T.Fatalf("SYNs to %v at %v, connected to %v, accept called %d times", d.syns, d.at, c.RemoteAddr(), d.opened)
	}
	c.Abort()
}

func TestDialFirst(t *testing.T) {
	onDialTest(t, 0, func(d *dialTest) {
		c, err := d.dial("target.:80")
		d.want(c, err, "[2001:db8:1::1]:80", []string{"2001:db8:1::1"}, 0)
	})
}

// Attempts alternate between the families. A silent address costs a delay, one that refuses costs nothing.
func TestDialAttempts(t *testing.T) {
	onDialTest(t, 0, func(d *dialTest) {
		d.targets["2001:db8:1::1"].SetConnectPolicy(looptest.DropConnects)
		d.targets["10.1.0.1"].SetConnectPolicy(looptest.RefuseConnects)
		c, err := d.dial("target.:80")
		d.want(c, err, "[2001:db8:1::2]:80", []string{"2001:db8:1::1", "10.1.0.1", "2001:db8:1::2"}, 0, 250*time.Millisecond, 250*time.Millisecond)
		time.Sleep(time.Second)
		if conns := d.Loop.Group().Conns(); conns != 0 {
			t.Errorf("%d connections are left", conns)
		}
	})
}

// Canceling an attempt takes a moment, in which it may open: it gets no handler, and is closed.
func TestDialSecondToOpen(t *testing.T) {
	calls := 0
	r := &race{done: func(*loop.Conn, error) {}, accept: func(*loop.Conn) loop.Handler { calls++; return sink{} }}
	first, second := &attempt{race: r}, &attempt{race: r}
	if first.opened(nil) == nil || second.opened(nil) != nil || calls != 1 || second.won {
		t.Errorf("accept was called %d times; the second attempt has won: %v", calls, second.won)
	}
}

// AAAA records that are late are waited for a little, and not longer.
func TestDialResolutionDelay(t *testing.T) {
	onDialTest(t, 40*time.Millisecond, func(d *dialTest) {
		c, err := d.dial("target.:80")
		d.want(c, err, "[2001:db8:1::1]:80", []string{"2001:db8:1::1"}, 40*time.Millisecond)
	})
	onDialTest(t, 3*time.Second, func(d *dialTest) {
		c, err := d.dial("target.:80")
		d.want(c, err, "10.1.0.1:80", []string{"10.1.0.1"}, 50*time.Millisecond)
	})
}

func TestDialAllFail(t *testing.T) {
	onDialTest(t, 0, func(d *dialTest) {
		for _, h := range d.targets {
			h.SetConnectPolicy(looptest.RefuseConnects)
		}
		_, err := d.dial("target.:80")
		e, ok := errors.AsType[*AttemptsError](err)
		if !ok || len(e.Errs) != 4 || !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "10.1.0.2:80") {
			t.Errorf("%v", err)
		}
		if _, err := d.dial("missing.:80"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v, want ErrNotFound", err)
		}
		if _, err := d.dialer.Dial(d.T.Context(), "tcp6", "four.:80", d.accept); !errors.Is(err, ErrNoData) {
			t.Errorf("%v, want ErrNoData", err)
		}
		if d.opened != 0 {
			t.Error("accept was called")
		}
	})
}

// When the context ends, Dial returns at once, and nothing is left of the attempts, whatever they do.
func TestDialCanceled(t *testing.T) {
	for _, after := range []time.Duration{0, 1, 40 * time.Millisecond, 100 * time.Millisecond, 600 * time.Millisecond} {
		onDialTest(t, 3*time.Second, func(d *dialTest) {
			for _, h := range d.targets {
				h.SetConnectPolicy(looptest.DropConnects)
			}
			if after == 1 { // while the lookup goes on
				d.dialer.ResolutionDelay = time.Minute
			}
			ctx, cancel := context.WithTimeout(d.T.Context(), after)
			defer cancel()
			began := time.Now()
			_, err := d.dialer.Dial(ctx, "tcp", "target.:80", d.accept)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > after+time.Millisecond {
				t.Errorf("%v after %v, want an error at %v", err, time.Since(began), after)
			}
			time.Sleep(time.Second)
			if flights, _ := d.flights.InFlight(); flights != 0 {
				t.Errorf("canceled after %v: %d queries go on", after, flights)
			}
			time.Sleep(11 * time.Second) // sockets for DNS are older than socketAge
			if conns, fds := d.Loop.Group().Conns(), d.Client.Descriptors(); conns+fds != 0 {
				t.Errorf("canceled after %v: %d connections, %d descriptors", after, conns, fds)
			}
		})
	}
}

// The error of a canceled dial has what was done: the lookup, or the attempts, with their addresses.
func TestDialCanceledReportsProgress(t *testing.T) {
	const limit = 300 * time.Millisecond
	fail := func(d *dialTest) error {
		ctx, cancel := context.WithTimeout(d.T.Context(), limit)
		defer cancel()
		errs := make(chan error, 1)
		d.Run(func() {
			d.dialer.DialFunc(ctx, d.Loop, "tcp", "target.:80", d.accept, func(_ *loop.Conn, err error) { errs <- err })
		})
		got := <-errs
		if !errors.Is(got, context.DeadlineExceeded) {
			d.T.Errorf("%v, want %v", got, context.DeadlineExceeded)
		}
		return got
	}
	onDialTest(t, 3*time.Second, func(d *dialTest) {
		d.dialer.ResolutionDelay = time.Minute
		if e, ok := errors.AsType[*Error](fail(d)); !ok || e.Name != "target." {
			t.Errorf("while the lookup goes on: %v", e)
		}
	})
	onDialTest(t, 0, func(d *dialTest) {
		for _, h := range d.targets {
			h.SetConnectPolicy(looptest.DropConnects)
		}
		e, ok := errors.AsType[*AttemptsError](fail(d))
		if !ok || len(e.Errs) != 2 || !strings.Contains(e.Errs[0].Error(), "[2001:db8:1::1]:80") || !strings.Contains(e.Errs[1].Error(), "10.1.0.1:80") {
			t.Errorf("during the attempts: %v", e)
		}
	})
}

// A handler that is refused, or a connection that accept closes, is the end of the race.
func TestDialAcceptRefuses(t *testing.T) {
	onDialTest(t, 0, func(d *dialTest) {
		c, err := d.dialer.Dial(d.T.Context(), "tcp", "target.:80", func(*loop.Conn) loop.Handler { return nil })
		if err == nil || c != nil || len(d.syns) != 1 {
			t.Errorf("%v, %v, SYNs to %v", c, err, d.syns)
		}
	})
}

// A loop that has ended cannot dial: the caller gets that at once, as done would not be called.
func TestDialOnALoopThatHasEnded(t *testing.T) {
	onDialTest(t, 0, func(d *dialTest) {
		g := d.Client.NewGroup(loop.Config{})
		l := g.Loops()[0]
		if err := g.Shutdown(d.T.Context()); err != nil {
			t.Fatal(err)
		}
		err := d.dialer.DialFunc(d.T.Context(), l, "tcp", "target.:80", d.accept, func(*loop.Conn, error) { t.Error("done is called") })
		if e, ok := errors.AsType[*net.OpError](err); !ok || !errors.Is(e, ErrClosed) {
			t.Errorf("%v, want a *net.OpError with ErrClosed", err)
		}
	})
}

// DialFunc names the argument that is nil.
func TestDialFuncWithoutAnArgument(t *testing.T) {
	onDialTest(t, 0, func(d *dialTest) {
		ctx, done := d.T.Context(), func(*loop.Conn, error) { t.Error("done is called") }
		for _, c := range []struct {
			want   string
			dialer *Dialer
			ctx    context.Context
			loop   *loop.Loop
			accept func(*loop.Conn) loop.Handler
			done   func(*loop.Conn, error)
		}{
			{"Dialer.Resolver", &Dialer{}, ctx, d.Loop, d.accept, done},
			{"context", &d.dialer, nil, d.Loop, d.accept, done},
			{"loop", &d.dialer, ctx, nil, d.accept, done},
			{"accept", &d.dialer, ctx, d.Loop, nil, done},
			{"done", &d.dialer, ctx, d.Loop, d.accept, nil},
		} {
			err := c.dialer.DialFunc(c.ctx, c.loop, "tcp", "target.:80", c.accept, c.done)
			if !errors.Is(err, pollux.ErrBadArgument) || !strings.Contains(err.Error(), c.want+" is nil") {
				t.Errorf("%v, want ErrBadArgument because %s is nil", err, c.want)
			}
		}
	})
}

func TestDialMisuse(t *testing.T) {
	onDialTest(t, 0, func(d *dialTest) {
		for _, c := range []struct{ network, address string }{
			{"udp", "target.:80"}, {"tcp", "target."}, {"tcp", "target.:-1"}, {"tcp", "target.:65536"}, {"unix", "/x"},
		} {
			if _, err := d.dialer.Dial(d.T.Context(), c.network, c.address, d.accept); !errors.Is(err, pollux.ErrBadArgument) {
				t.Errorf("%v: %v, want ErrBadArgument", c, err)
			}
		}
		if _, err := (&Dialer{}).Dial(d.T.Context(), "tcp", "target.:80", d.accept); !errors.Is(err, pollux.ErrBadArgument) {
			t.Errorf("%v, want ErrBadArgument", err)
		}
		late := Dialer{Resolver: d.Resolver, AttemptDelay: time.Minute}
		if _, err := late.Dial(d.T.Context(), "tcp", "target.:80", d.accept); !errors.Is(err, pollux.ErrBadArgument) {
			t.Errorf("%v, want ErrBadArgument", err)
		}
	})
}
