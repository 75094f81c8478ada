package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/loop"
)

// slowly returns f, which answers after a second.
func slowly(f func([]byte) []exchangetest.Message) func([]byte) []exchangetest.Message {
	return func(q []byte) []exchangetest.Message { time.Sleep(time.Second); return f(q) }
}

// Calls that wait for a loop return ErrOnLoop in its callbacks.
func TestOnLoop(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onResolver(t, Config{}, files{hosts: testHosts}, func(r *testResolver) {
		ctx := r.T.Context()
		other := r.Client.NewGroup(loop.Config{}).Loops()[0]
		started := make(chan error)
		r.LookupFunc(other, "b.", func(_ Answer, err error) { started <- err })
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		accept := func(*loop.Conn) loop.Handler { return sink{make(chan error, 1)} }
		calls := map[string]func() error{
			"Lookup":     func() error { _, err := r.Lookup(ctx, "a."); return err },
			"LookupType": func() error { _, err := r.LookupType(ctx, "a.", TypeMX); return err },
			"Close":      r.Close,
			"Dial": func() error {
				d := Dialer{Resolver: r.Resolver}
				_, err := d.Dial(ctx, "tcp", "192.0.2.1:80", accept)
				return err
			},
		}
		for where, l := range map[string]*loop.Loop{"a loop of Config.Group": r.Loop, "a loop that may carry a query": other} {
			for name, call := range calls {
				errs := make(chan error, 1)
				l.Run(func() { errs <- call() })
				err := <-errs
				_, isError := errors.AsType[*Error](err)
				if !errors.Is(err, loop.ErrOnLoop) || isError != strings.HasPrefix(name, "Lookup") {
					t.Errorf("%s on %s: %v, want ErrOnLoop", name, where, err)
				}
			}
		}
		if _, err := r.Lookup(ctx, "a."); err != nil {
			t.Errorf("%v, after a Close that had no effect", err)
		}
	}, s)
}

// What is known, or cannot be asked for, needs no loop, so callbacks may look it up.
func TestInlineOnLoop(t *testing.T) {
	s := &exchangetest.Server{UDP: zone{"a.": {exchangetest.TrueAddr}}.udp}
	onResolver(t, Config{}, files{hosts: testHosts}, func(r *testResolver) {
		ctx := r.T.Context()
		for _, lookup := range []struct {
			name string
			typ  Type
		}{{"a.", typeAddresses}, {"a.", TypeA}, {"a.", TypeAAAA}, {"a.", TypeMX}, {"gone.", typeAddresses}, {"gone.", TypeTXT}} {
			first, firstErr := r.lookup(ctx, lookup.name, lookup.typ)
			r.Run(func() {
				a, err := r.lookup(ctx, lookup.name, lookup.typ)
				e, failed := errors.AsType[*Error](err)
				switch {
				case firstErr != nil && (!failed || !errors.Is(firstErr, e.Err) || e.Path != PathCache):
					t.Errorf("%v: %v, want %v from the cache", lookup, err, firstErr)
				case firstErr == nil && (err != nil || a.Path != PathCache || !slices.Equal(a.Addrs, first.Addrs) || a.TTL <= 0 || a.Type != lookup.typ):
					t.Errorf("%v: %+v, %v, want %+v from the cache", lookup, a, err, first)
				}
			})
		}
		r.Run(func() {
			for _, name := range []string{"192.0.2.1", "localhost", "printer"} {
				if _, err := r.Lookup(ctx, name); err != nil {
					t.Error(err)
				}
			}
			for _, name := range []string{"127.1", "x.onion"} {
				if _, err := r.Lookup(ctx, name); err == nil || errors.Is(err, loop.ErrOnLoop) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}, s)
}

// A lookup that waits returns when its context ends, though its loop is in a function.
func TestContextWhileTheLoopIsBlocked(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		in, out := make(chan bool), make(chan bool)
		r.Loop.Run(func() { close(in); <-out })
		<-in
		ctx, cancel := context.WithTimeoutCause(r.T.Context(), time.Second, errors.New("no more time"))
		defer cancel()
		began := time.Now()
		_, err := r.Lookup(ctx, "a.")
		if err == nil || !strings.Contains(err.Error(), "no more time") || time.Since(began) > time.Second+time.Millisecond {
			t.Errorf("%v after %v, want the cause of the context's end, after a second", err, time.Since(began))
		}
		close(out)
		r.wantAnswer("a.", "evented 10.0.1.0:53 udp", exchangetest.TrueAddr)
	}, s)
}

// A lookup that waits ends with its loop, however long the servers are silent.
func TestLoopEndsMeanwhile(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Silent}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		g := r.Client.NewGroup(loop.Config{})
		c := r.Config()
		c.Group = g
		own := must(New(c))
		defer own.Close()
		dialer := Dialer{Resolver: own}
		errs := make(chan error, 2)
		go func() { _, err := own.Lookup(r.T.Context(), "a."); errs <- err }()
		go func() {
			_, err := dialer.Dial(r.T.Context(), "tcp", "a.:80", func(*loop.Conn) loop.Handler { return nil })
			errs <- err
		}()
		time.Sleep(time.Second)
		began := time.Now()
		if err := g.Shutdown(r.T.Context()); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := <-errs; !errors.Is(err, ErrClosed) || time.Since(began) > 2*time.Second {
				t.Errorf("%v after %v, want ErrClosed", err, time.Since(began))
			}
		}
		synctest.Wait()
		if n := len(own.exchangers); n != 0 {
			t.Errorf("%d exchangers are left of loops that have ended", n)
		}
		if s := own.Stats(); s.SentUDP == 0 || s.InFlight != 0 {
			t.Errorf("%+v, want the queries of loops that have ended to be counted", s)
		}
	}, s)
}

// A lookup goes on with another loop of the group if its own one fails.
func TestOtherLoopOfTheGroup(t *testing.T) {
	s := &exchangetest.Server{UDP: slowly(exchangetest.Honest)}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		g := r.Client.NewGroup(loop.Config{Loops: 3})
		c := r.Config()
		c.Group = g
		own := must(New(c))
		defer own.Close()
		results := make(chan error)
		go func() { _, err := own.Lookup(r.T.Context(), "a."); results <- err }()
		time.Sleep(time.Second / 2)
		own.mu.Lock()
		var carrier *loop.Loop
		for carrier = range own.exchangers {
		}
		own.mu.Unlock()
		carrier.Run(runtime.Goexit)
		if err := <-results; err != nil {
			t.Error(err)
		}
		for range 6 {
			if l, err := own.nextLoop(); err != nil || l == carrier {
				t.Errorf("the loop that has ended has its turn, or %v", err)
			}
		}
	}, s)
}

// Lookups on other loops wait for one query. If the loop that carries it ends, one of them starts it again.
func TestCarrierEnds(t *testing.T) {
	s := &exchangetest.Server{UDP: slowly(exchangetest.Honest)}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		carrier := r.Client.NewGroup(loop.Config{})
		r.LookupTypeFunc(carrier.Loops()[0], "a.", TypeA, func(Answer, error) { t.Error("done was called, though the loop has ended") })
		time.Sleep(time.Millisecond)
		const others = 10
		results := make(chan error, others)
		for range others / 2 {
			r.LookupTypeFunc(r.Loop, "a.", TypeA, func(_ Answer, err error) { results <- err })
			go func() { _, err := r.LookupType(r.T.Context(), "a.", TypeA); results <- err }()
		}
		time.Sleep(time.Second / 2)
		began := time.Now()
		if err := carrier.Shutdown(r.T.Context()); err != nil {
			t.Error(err)
		}
		for range others {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took > 3*time.Second || s.Queries[0] != 2 {
			t.Errorf("after %v and %d queries, want 2 queries", took, s.Queries[0])
		}
		if n := r.Stats().Shared; n != others+others-1 {
			t.Errorf("%d shared, want %d and then %d", n, others, others-1)
		}
	}, s)
}

// If the second carrier ends, too, the lookups that are left fail; none waits forever.
func TestCarriersEnd(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Silent}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		var groups []*loop.Group
		for range 2 {
			groups = append(groups, r.Client.NewGroup(loop.Config{}))
			r.LookupTypeFunc(groups[len(groups)-1].Loops()[0], "a.", TypeA, func(Answer, error) {})
			time.Sleep(time.Millisecond)
		}
		results := make(chan error, 1)
		r.LookupTypeFunc(r.Loop, "a.", TypeA, func(_ Answer, err error) { results <- err })
		time.Sleep(time.Millisecond)
		for _, g := range groups {
			if err := g.Shutdown(r.T.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := <-results; !errors.Is(err, ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v, want that of the lost query or of the servers", err)
		}
	}, s)
}

// A loop that the resolver has started itself is one on which it must not wait.
func TestOnOwnLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := must(net.Listen("tcp", "127.0.0.1:0"))
		defer ln.Close()
		c := Config{Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}}
		files{}.write(t, &c)
		r := must(New(c))
		dialer, errs := Dialer{Resolver: r}, make(chan error, 2)
		conn, err := dialer.Dial(t.Context(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler {
			_, err := r.Lookup(t.Context(), "a.")
			errs <- err
			errs <- r.Close()
			return sink{make(chan error, 1)}
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := <-errs; !errors.Is(err, loop.ErrOnLoop) {
				t.Errorf("%v, want ErrOnLoop", err)
			}
		}
		conn.Abort()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}
