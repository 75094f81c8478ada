package loop_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// echoAmong begins work on the loop of an echoing connection, and returns after how many steps of the work
// an echo is served whose bytes arrive during the first step: each step must call step, which counts it.
func echoAmong(t *testing.T, g *loop.Group, steps *atomic.Int64, begin func(step func())) int64 {
	t.Helper()
	served := make(chan int64, 1)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			select {
			case served <- steps.Load():
			default:
			}
			return c.Write(b)
		}}
	})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, ln.Addr())
	ping(t, c)
	<-served
	release := blockLoop(t, g.Loops()[0])
	begin(func() {
		n := steps.Add(1)
		if n == 1 {
			c.Write([]byte("ping"))
		}
		if n%100 == 0 {
			busy()
		}
	})
	release()
	relayed(t, c, "ping")
	return receive(t, served, "the echo")
}

// L5: an echo among 20,000 deliveries of a Fanout on the same loop is served between them.
func TestL5EchoAmongFanoutDeliveries(t *testing.T) {
	const members, messages = 20, 1000
	g := group(t, loop.Config{Loops: 1, SlowCallback: -1})
	var slow atomic.Int64
	var step func()
	// Each member is slow, so each message is a delivery of its own.
	f := loop.NewFanout(loop.FanoutConfig{MaxUnsentBytes: 1000, Slow: func(*loop.Conn, *loop.Shared) { step() }})
	for _, x := range acceptN(t, g, members) {
		fill(t, x.c)
		f.Add(x.c)
	}
	barrier(t, g)
	turns := g.Stats().Loops[0].Turns
	after := echoAmong(t, g, &slow, func(each func()) {
		step = each
		for range messages {
			if err := f.Send(shared("message")); err != nil {
				t.Fatal(err)
			}
		}
	})
	if after > members*messages/4 {
		t.Errorf("the echo was served after %d of %d deliveries", after, members*messages)
	}
	if !testkit.Eventually(func() bool { return f.Stats().PendingMessages == 0 }) {
		t.Fatalf("messages are pending: %+v", f.Stats())
	}
	s := f.Stats()
	if s.Skipped != members*messages || s.Deliveries != 0 {
		t.Errorf("%d messages were skipped and %d delivered, want %d and 0", s.Skipped, s.Deliveries, members*messages)
	}
	if n := g.Stats().Loops[0].Turns - turns; n < members*messages/100/2 { // each turn ends after the first busy
		t.Errorf("the deliveries took %d turns, want one for each of %d that use up its budget", n, members*messages/100)
	}
}

// L5: an echo beside a Fanout that never comes to its end, because each delivery sends the next
// message, is served again and again.
func TestL5EchoBesideAnEndlessFanout(t *testing.T) {
	const echoes, message = 50, "0123456789abcdef"
	g := group(t, loop.Config{Loops: 1, SlowCallback: -1})
	f := loop.NewFanout(loop.FanoutConfig{})
	var deliveries atomic.Int64
	for range 10 {
		x := acceptN(t, g, 1)[0]
		f.Add(x.c)
		go func() { // reads, or the member would be slow
			b := make([]byte, 64<<10)
			for {
				n, err := x.peer.Read(b)
				if len(bytes.Trim(b[:n], message)) > 0 {
					t.Errorf("a member got %q", b[:n])
				}
				deliveries.Add(int64(n) / int64(len(message)))
				if err != nil {
					return
				}
			}
		}()
	}
	l := g.Loops()[0]
	s := shared(message)
	var stop atomic.Bool
	var again func()
	again = func() {
		for range 20 {
			if err := f.Send(s); err != nil && !errors.Is(err, loop.ErrQueueFull) {
				t.Error(err)
			}
		}
		if !stop.Load() {
			l.Run(again)
		}
	}
	l.Run(again)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, ln.Addr())
	for i := range echoes {
		before := deliveries.Load()
		ping(t, c)
		if i%10 == 0 && !testkit.Eventually(func() bool { return deliveries.Load() > before }) {
			t.Fatal("the members get nothing more")
		}
	}
	stop.Store(true)
	if err := g.Shutdown(canceledContext()); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
}

// L5: an echo beside an Each of 20,000 visits is served between them.
func TestL5EchoAmongVisits(t *testing.T) {
	const conns, calls = 20, 1000
	g := group(t, loop.Config{Loops: 1, SlowCallback: -1})
	acceptN(t, g, conns)
	barrier(t, g)
	turns := g.Stats().Loops[0].Turns
	var visits atomic.Int64
	after := echoAmong(t, g, &visits, func(step func()) {
		for range calls {
			if err := g.Each(func(*loop.Conn) { step() }); err != nil {
				t.Fatal(err)
			}
		}
	})
	const all = (conns + 1) * calls // the echoing connection as well
	if after > all/4 {
		t.Errorf("the echo was served after %d of %d visits", after, all)
	}
	if !testkit.Eventually(func() bool { return visits.Load() == all }) {
		t.Fatalf("%d visits, want %d", visits.Load(), all)
	}
	if n := g.Stats().Loops[0].Turns - turns; n < all/100/2 {
		t.Errorf("the visits took %d turns, want one for each of %d that use up its budget", n, all/100)
	}
}
