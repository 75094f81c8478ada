package loop_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// readToEnd reads until the end of a connection, which must not be a timeout.
func readToEnd(t *testing.T, c net.Conn) (n int) {
	t.Helper()
	b := make([]byte, 64<<10)
	for {
		k, err := c.Read(b)
		n += k
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the connection was not ended within %v\n%s", testTimeout, testkit.Stacks())
		}
		if err != nil {
			return n
		}
	}
}

// shutdownAll waits for the end of groups whose connections have ended.
func shutdownAll(t *testing.T, groups ...*loop.Group) {
	t.Helper()
	for _, g := range groups {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		if err := g.Shutdown(ctx); err != nil && ctx.Err() != nil {
			t.Errorf("Shutdown: %v", err)
		}
		cancel()
		if n := g.Conns(); n != 0 {
			t.Errorf("the group counts %d connections after its end, want 0", n)
		}
	}
}

// A relay whose driver fails, of either side or of both, ends once, with the driver's error; the other
// side, also if it belongs to another group, is ended, and nothing is left behind.
func TestRelayDriverFails(t *testing.T) {
	for _, x := range []struct {
		name   string
		groups int
		fail   []int // sides
	}{
		{"one loop", 1, []int{0}},
		{"the first side's", 2, []int{0}},
		{"the second side's", 2, []int{1}},
		{"both", 2, []int{0, 1}},
	} {
		for _, unsent := range []bool{false, true} {
			name := x.name
			if unsent {
				name += ", with unsent bytes"
			}
			t.Run(name, func(t *testing.T) {
				testkit.CheckLeaks(t)
				drivers := failingDrivers(t)
				config := loop.Config{Loops: 1, LingerTimeout: 20 * time.Millisecond, Logger: quiet()} // the peers read late
				gs := [2]*loop.Group{group(t, config)}
				if gs[1] = gs[0]; x.groups == 2 {
					gs[1] = group(t, config)
				}
				p := newRelayPair(t, gs[0], gs[1])
				p.relay(t, p.config())
				if _, err := p.peers[0].Write([]byte("part")); err != nil {
					t.Fatal(err)
				}
				relayed(t, p.peers[1], "part")
				if unsent {
					go p.peers[0].Write(filler) // until the relay ends
					if !testkit.Eventually(func() bool { return p.conns[1].Unsent() > 0 }) {
						t.Fatal("nothing is unsent")
					}
				}
				failure := errors.New("the ring is broken")
				for _, side := range x.fail {
					drivers()[side].Fail(failure)
				}
				if e := p.end(t); !errors.Is(e.Err, failure) || e.From == nil {
					t.Errorf("OnEnd got %v from %p, want the driver's error", e.Err, e.From)
				} else if len(x.fail) == 1 && x.groups == 2 && e.From != p.conns[x.fail[0]] {
					t.Errorf("OnEnd got an end of the side that has not failed: %v", e.Err)
				}
				for _, peer := range p.peers {
					readToEnd(t, peer)
				}
				shutdownAll(t, gs[:x.groups]...)
			})
		}
	}
}

// A relay that is requested on a loop whose driver fails in the same turn ends, too, or is refused.
func TestRelayRequestedWhileDriverFails(t *testing.T) {
	testkit.CheckLeaks(t)
	drivers := failingDrivers(t)
	for side := range 2 {
		config := loop.Config{Loops: 1, Logger: quiet()}
		gs := [2]*loop.Group{group(t, config), group(t, config)}
		p := newRelayPair(t, gs[0], gs[1])
		failure := errors.New("the ring is broken")
		release := blockLoop(t, gs[side].Loops()[0])
		all := drivers()
		all[len(all)-2+side].Fail(failure)
		p.relay(t, p.config())
		release()
		if e := p.end(t); !errors.Is(e.Err, failure) || e.From != p.conns[side] {
			t.Errorf("OnEnd got %v from %p, want the driver's error from %p", e.Err, e.From, p.conns[side])
		}
		for _, peer := range p.peers {
			readToEnd(t, peer)
		}
		shutdownAll(t, gs[:]...)
		if err := loop.Relay(p.conns[0], p.conns[1], p.config()); !errors.Is(err, loop.ErrClosed) {
			t.Errorf("Relay of ended connections: got %v, want ErrClosed", err)
		}
	}
}

// RelayTo on a loop whose driver fails while it dials: the client ends, and OnEnd is called once.
func TestRelayToDriverFails(t *testing.T) {
	full, address := listenFull(t)
	defer full.Close()
	testkit.CheckLeaks(t)
	drivers := failingDrivers(t)
	ends := make(chan loop.RelayEnd, 2)
	h, err := loop.RelayTo("tcp", address, loop.RelayConfig{OnEnd: func(e loop.RelayEnd) { ends <- e }})
	if err != nil {
		t.Fatal(err)
	}
	g, c := serve(t, loop.Config{Loops: 1, Logger: quiet()}, func(*loop.Conn) loop.Handler { return h })
	if !testkit.Eventually(func() bool { return g.Conns() == 2 || len(ends) > 0 }) {
		t.Fatalf("%d connections, want 2", g.Conns())
	}
	if len(ends) > 0 {
		t.Skip("connecting to a full backlog does not hang on this system: ", (<-ends).Err)
	}
	failure := errors.New("the ring is broken")
	drivers()[0].Fail(failure)
	if e := receive(t, ends, "OnEnd"); e.B != nil || !errors.Is(e.Err, failure) {
		t.Errorf("OnEnd got %+v, want the driver's error", e)
	}
	readToEnd(t, c)
	shutdownAll(t, g)
	if len(ends) > 0 {
		t.Error("OnEnd was called twice")
	}
}

// A Fanout whose members are on a loop whose driver fails, with much pending, and on another one: the
// members there leave, every message is freed, and those on the other loop get everything.
func TestFanoutDriverFails(t *testing.T) {
	testkit.CheckLeaks(t)
	drivers := failingDrivers(t)
	broken, good := group(t, loop.Config{Loops: 1, SlowCallback: -1, Logger: quiet()}), group(t, loop.Config{Loops: 1})
	f := loop.NewFanout(loop.FanoutConfig{Slow: loop.SkipSlow})
	a, b := acceptN(t, broken, 20), acceptN(t, good, 2)
	for i, x := range append(a[:len(a):len(a)], b...) {
		f.Add(x.c)
		if i%4 == 3 && i < len(a) {
			fill(t, x.c)
		}
	}
	const messages = 300
	var freed atomic.Int64
	failure := errors.New("the ring is broken")
	want := ""
	send := func(n int) {
		for range n {
			s := loop.NewSharedFunc([]byte("message"), func() { freed.Add(1) })
			if err := f.Send(s); err != nil {
				t.Error(err)
			}
			s.Release()
			want += "message"
		}
	}
	release := blockLoop(t, broken.Loops()[0])
	send(messages / 3)
	drivers()[0].Fail(failure)
	send(messages / 3)
	release()
	send(messages / 3)
	for _, x := range a {
		if why := receive(t, x.closed, "Closed"); !errors.Is(why, failure) {
			t.Errorf("a member ended with %v, want the driver's error", why)
		}
		readToEnd(t, x.peer)
	}
	for _, x := range b {
		expect(t, "a member of the other group", x.peer, want)
	}
	if err := f.Add(a[0].c); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Add of a member that has ended: %v, want ErrClosed", err)
	}
	ok := testkit.Eventually(func() bool { s := f.Stats(); return s.PendingMessages == 0 && freed.Load() == messages })
	if s := f.Stats(); !ok || s.PendingBytes != 0 || s.Members != len(b) || s.Messages != messages {
		t.Errorf("%d of %d messages are free: %+v", freed.Load(), messages, s)
	}
	for _, x := range b {
		x.c.Close()
	}
	shutdownAll(t, broken, good)
}

// Each on a loop whose driver fails in the middle: no connection that has ended is visited, and the
// other group's work goes on.
func TestEachDriverFails(t *testing.T) {
	testkit.CheckLeaks(t)
	drivers := failingDrivers(t)
	g := group(t, loop.Config{Loops: 1, SlowCallback: -1, Logger: quiet()})
	a := acceptN(t, g, 10)
	failure := errors.New("the ring is broken")
	ended := map[*loop.Conn]bool{}
	for _, x := range a {
		x.c.SetHandler(&funcs{closed: func(c *loop.Conn, why error) { ended[c] = true; x.closed <- why }})
	}
	visits := 0
	err := g.Each(func(c *loop.Conn) {
		if ended[c] {
			t.Error("a connection was visited after Closed")
		}
		if visits++; visits == 2 {
			drivers()[0].Fail(failure)
		}
		busy()
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range a {
		if why := receive(t, x.closed, "Closed"); !errors.Is(why, failure) {
			t.Errorf("a connection ended with %v, want the driver's error", why)
		}
	}
	shutdownAll(t, g)
	if err := g.Each(func(*loop.Conn) {}); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Each after the end: %v, want ErrClosed", err)
	}
}

// L9: work that is running, or queued, for a connection whose driver fails: done is not called after
// Closed, and Shutdown does not wait for it for ever.
func TestL9DriverFails(t *testing.T) {
	testkit.CheckLeaks(t)
	drivers := failingDrivers(t)
	g := group(t, loop.Config{Loops: 2, OffloadWorkers: 1, Logger: quiet()})
	var a []member
	for {
		x := acceptN(t, g, 1)[0]
		if a = append(a, x); x.c.Loop().Index() == 1 {
			break
		}
	}
	x := a[len(a)-1]
	failure := errors.New("the ring is broken")
	running, out := make(chan bool), make(chan bool)
	var ran, done atomic.Int64
	const queued = 20
	for i := range queued {
		on := loop.Runner(x.c)
		if i%2 == 1 {
			on = x.c.Loop()
		}
		err := loop.Offload(on, func() (int, error) {
			if i == 0 {
				close(running)
				<-out
			}
			ran.Add(1)
			return i, nil
		}, func(int, error) {
			if i%2 == 0 { // the loop's own may be called until it has ended
				done.Add(1)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	receive(t, running, "the work")
	drivers()[1].Fail(failure)
	if why := receive(t, x.closed, "Closed"); !errors.Is(why, failure) {
		t.Errorf("Closed got %v, want the driver's error", why)
	}
	if err := loop.Offload(x.c, func() (int, error) { return 0, nil }, nil); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Offload on a connection that has ended: %v, want ErrClosed", err)
	}
	close(out)
	if !testkit.Eventually(func() bool { return ran.Load() == queued }) {
		t.Errorf("%d of %d functions have run", ran.Load(), queued)
	}
	other := make(chan bool, 1)
	if err := loop.Offload(g.Loops()[0], func() (int, error) { return 0, nil }, func(int, error) { other <- true }); err != nil {
		t.Fatal(err)
	}
	receive(t, other, "done on the other loop")
	for _, x := range a {
		x.c.Close()
	}
	shutdownAll(t, g)
	if n := done.Load(); n != 0 {
		t.Errorf("done was called %d times after Closed", n)
	}
}

// L10: Attach from several goroutines to a loop whose driver fails meanwhile: each connection is either
// refused, and still the caller's, or ended by the loop: with Closed, if accept was called.
func TestL10AttachWhileDriverFails(t *testing.T) {
	skipWithLayer(t, "a handler whose layer has not connected gets no Closed")
	testkit.CheckLeaks(t)
	drivers := failingDrivers(t)
	for round := range 5 {
		g := group(t, loop.Config{Loops: 1, Logger: quiet()})
		skipUnlessAttaches(t, g)
		failure := errors.New("the ring is broken")
		var accepted, closed, refused atomic.Int64
		var all sync.WaitGroup
		var peers []net.Conn
		for n := range 16 {
			own, peer := netPair(t, "tcp")
			peers = append(peers, peer)
			all.Go(func() {
				err := g.Attach(own, []byte("unread"), func(*loop.Conn) loop.Handler {
					accepted.Add(1)
					return &funcs{closed: func(_ *loop.Conn, why error) {
						closed.Add(1)
						if !errors.Is(why, failure) {
							t.Errorf("Closed got %v, want the driver's error", why)
						}
					}}
				})
				if err == nil {
					return
				}
				refused.Add(1)
				if !errors.Is(err, loop.ErrClosed) || !errors.Is(err, failure) {
					t.Errorf("Attach: %v, want ErrClosed with the driver's error", err)
				}
				if _, err := own.Write([]byte("mine")); err != nil {
					t.Errorf("the connection that Attach has refused: %v", err)
				}
				own.Close()
			})
			if n == 8+round {
				all := drivers()
				all[len(all)-1].Fail(failure)
			}
		}
		all.Wait()
		if err := g.Wait(); !errors.Is(err, failure) {
			t.Errorf("Wait: %v, want the driver's error", err)
		}
		for _, p := range peers {
			readToEnd(t, p)
			p.Close()
		}
		if accepted.Load() != closed.Load() || g.Conns() != 0 {
			t.Errorf("accept was called %d times, Closed %d times; %d connections are left", accepted.Load(), closed.Load(), g.Conns())
		}
	}
}

// L9: done functions of a connection that are queued when its driver fails are not called after Closed.
func TestL9DriverFailsBeforeDone(t *testing.T) {
	testkit.CheckLeaks(t)
	drivers := failingDrivers(t)
	g := group(t, loop.Config{Loops: 1, SlowCallback: -1, Logger: quiet()})
	x := acceptN(t, g, 1)[0]
	var closed atomic.Bool
	x.c.SetHandler(&funcs{closed: func(_ *loop.Conn, why error) { closed.Store(true); x.closed <- why }})
	release := blockLoop(t, g.Loops()[0])
	for range 20 {
		if err := loop.Offload(x.c, func() (int, error) { return 1, nil }, func(int, error) {
			if closed.Load() {
				t.Error("done was called after Closed")
			}
			busy()
		}); err != nil {
			t.Fatal(err)
		}
	}
	waitOffloaded(g)
	failure := errors.New("the ring is broken")
	drivers()[0].Fail(failure)
	release()
	if why := receive(t, x.closed, "Closed"); !errors.Is(why, failure) {
		t.Errorf("Closed got %v, want the driver's error", why)
	}
	readToEnd(t, x.peer)
	shutdownAll(t, g)
}
