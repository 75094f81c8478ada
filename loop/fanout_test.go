package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// expect reads want from a peer.
func expect(t testing.TB, who string, peer io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(peer, got); err != nil || string(got) != want {
		t.Errorf("%s got %.100q, %v, want %.100q", who, got[:n], err, want)
	}
}

func shared(s string) *loop.Shared { return loop.NewShared([]byte(s)) }

// fill makes c slow: its peer does not read, and more is unsent than a Fanout allows.
func fill(t testing.TB, c *loop.Conn) {
	t.Helper()
	if _, err := c.WriteOwned(filler, nil); err != nil {
		t.Fatal(err)
	}
}

// filler is more than the kernel takes.
var filler = make([]byte, 16<<20)

func TestFanoutMembers(t *testing.T) {
	g := group(t, loop.Config{Loops: 3})
	f := loop.NewFanout(loop.FanoutConfig{})
	if err := f.Send(shared("nobody")); err != nil {
		t.Errorf("Send without members returned %v", err)
	}
	a := acceptN(t, g, 12)
	for _, x := range a {
		for range 2 { // the second Add has no effect
			if err := f.Add(x.c); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.Send(shared("all "))
	if !f.Remove(a[0].c) || f.Remove(a[0].c) || f.Remove(nil) {
		t.Error("Remove reports the wrong memberships")
	}
	a[0].c.Write([]byte("removed"))
	f.Send(shared("others"))
	if n := f.Len(); n != len(a)-1 {
		t.Errorf("Len returned %d, want %d", n, len(a)-1)
	}
	var got []*loop.Conn
	for c := range f.All() {
		f.Remove(c) // allowed during the iteration
		got = append(got, c)
	}
	for _, x := range a[1:] {
		if !slices.Contains(got, x.c) {
			t.Error("All misses a member")
		}
		f.Add(x.c)
	}
	if len(got) != len(a)-1 {
		t.Errorf("All returned %d members, want %d", len(got), len(a)-1)
	}
	for range f.All() {
		break
	}
	f.Send(shared("end"))
	for i, x := range a[1:] {
		b := make([]byte, 64)
		s := ""
		for !strings.HasSuffix(s, "end") { // what was pending at Remove may be missing
			n, err := x.peer.Read(b)
			if s += string(b[:n]); err != nil {
				t.Fatalf("connection %d: %q, %v", i+1, s, err)
			}
		}
	}
}

// Messages are written between callbacks, in the order of Send, behind what was written before.
func TestL3FanoutOrder(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	f := loop.NewFanout(loop.FanoutConfig{})
	a := acceptN(t, g, 1)[0]
	a.c.SetHandler(&funcs{data: func(c *loop.Conn, b []byte) (int, error) {
		c.Write([]byte("[before"))
		f.Send(shared("(message)"))
		f.Send(loop.NewShared(nil)) // no effect
		f.Send(shared("(second)"))
		c.Write([]byte("after]"))
		return len(b), nil
	}})
	a.c.Write([]byte("written "))
	f.Add(a.c)
	a.peer.Write([]byte("!"))
	expect(t, "the member", a.peer, "written [beforeafter](message)(second)")
}

// A connection is not a member any more when it cannot be written to, before Closed is called.
func TestFanoutMembersLeave(t *testing.T) {
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	f, other := loop.NewFanout(loop.FanoutConfig{}), loop.NewFanout(loop.FanoutConfig{})
	for name, end := range map[string]func(x member){
		"Close":      func(x member) { x.c.Close() },
		"CloseWith":  func(x member) { x.c.CloseWith(io.ErrUnexpectedEOF) },
		"CloseWrite": func(x member) { x.c.CloseWrite() },
		"Abort":      func(x member) { x.c.Abort() },
		"Detach":     func(x member) { x.c.Detach(func(c net.Conn, _ []byte, _ error) { c.Close() }) },
		"slow Detach": func(x member) {
			fill(t, x.c)
			x.c.Detach(func(net.Conn, []byte, error) {})
		},
		"peer closes": func(x member) { x.peer.Close() },
		"peer resets": func(x member) { x.peer.SetLinger(0); x.peer.Close() },
		"fails, with unread bytes": func(x member) {
			paused := make(chan bool, 1)
			x.c.SetHandler(&funcs{data: func(c *loop.Conn, _ []byte) (int, error) {
				c.Pause() // without Resume, Closed is not called
				paused <- true
				return 0, nil
			}})
			x.peer.Write([]byte("x"))
			receive(t, paused, "Data")
			x.peer.SetLinger(0)
			x.peer.Close()
		},
		"panic": func(x member) {
			x.c.SetHandler(&funcs{data: func(*loop.Conn, []byte) (int, error) { panic("test") }})
			x.peer.Write([]byte("x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasSuffix(name, "Detach") {
				skipWithLayer(t, needsDetach)
			}
			x := acceptN(t, g, 1)[0]
			f.Add(x.c)
			other.Add(x.c)
			f.Remove(x.c)
			f.Add(x.c)
			end(x)
			if !testkit.Eventually(func() bool { return f.Len() == 0 && other.Len() == 0 }) {
				t.Fatalf("%d and %d members remain", f.Len(), other.Len())
			}
			if err := f.Add(x.c); !errors.Is(err, loop.ErrClosed) {
				t.Errorf("Add then returned %v, want ErrClosed", err)
			}
			x.peer.Close()
		})
	}
}

func TestFanoutIsLeftBeforeClosed(t *testing.T) {
	f := loop.NewFanout(loop.FanoutConfig{})
	members := make(chan int, 1)
	_, peer := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { f.Add(c) },
			closed: func(*loop.Conn, error) { members <- f.Len() },
		}
	})
	peer.Close()
	if n := receive(t, members, "Closed"); n != 0 {
		t.Errorf("in Closed the Fanout has %d members, want 0", n)
	}
}

// By default a slow member is reset, and the others get everything.
func TestFanoutAbortsSlowMembers(t *testing.T) {
	g := group(t, loop.Config{Loops: 2})
	f := loop.NewFanout(loop.FanoutConfig{MaxUnsentBytes: 64 << 10})
	a := acceptN(t, g, 6)
	for i, x := range a {
		if i%2 == 0 {
			fill(t, x.c)
		}
		f.Add(x.c)
	}
	barrier(t, g)
	f.Send(shared("one"))
	f.Send(shared("two"))
	for i, x := range a {
		if i%2 != 0 {
			expect(t, "a fast member", x.peer, "onetwo")
			continue
		}
		if why := receive(t, x.closed, "Closed"); !errors.Is(why, loop.ErrSlow) {
			t.Errorf("a slow member has ended with %v, want ErrSlow", why)
		}
	}
	awaitIdle(t, f)
	if s := f.Stats(); s.Members != 3 || s.Messages != 2 || s.Skipped != 3 || s.Deliveries != 6 {
		t.Errorf("Stats returned %+v, want 3 members, 2 messages, 3 skipped, 6 deliveries", s)
	}
}

// With SkipSlow a member misses what it is too slow for: it gets whole messages, in order, and what
// it did not get is counted.
func TestFanoutSkipsSlowMembers(t *testing.T) {
	const size, total = 16 << 10, 2000
	g := group(t, loop.Config{Loops: 1})
	f := loop.NewFanout(loop.FanoutConfig{MaxUnsentBytes: 4 * size, Slow: loop.SkipSlow})
	x := acceptN(t, g, 1)[0]
	f.Add(x.c)
	for i := range total {
		m := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size/2)
		for errors.Is(f.Send(loop.NewShared(m)), loop.ErrQueueFull) {
			runtime.Gosched()
		}
	}
	if !testkit.Eventually(func() bool { return f.Stats().PendingMessages == 0 }) {
		t.Fatal("messages stay pending")
	}
	x.c.Close()
	got, last := 0, -1
	b := make([]byte, size)
	for {
		if _, err := io.ReadFull(x.peer, b); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		n := int(b[0]) | int(b[1])<<8
		if n <= last || !bytes.Equal(b, bytes.Repeat(b[:2], size/2)) {
			t.Fatalf("message %d follows %d, or is damaged", n, last)
		}
		got, last = got+1, n
	}
	s := f.Stats()
	if s.Skipped == 0 || got+int(s.Skipped) != total || int(s.Deliveries) != got {
		t.Errorf("%d messages were received, want %d together with the skipped: %+v", got, total, s)
	}
}

// Slow is a callback of the member: it may write to it, remove it, send, and panic.
func TestFanoutSlowIsACallback(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: failOnLog(t, "handler panicked")})
	called := make(chan *loop.Shared, 10)
	var f *loop.Fanout
	var fails atomic.Bool
	f = loop.NewFanout(loop.FanoutConfig{MaxUnsentBytes: 1000, Slow: func(c *loop.Conn, s *loop.Shared) {
		called <- s
		if fails.Load() {
			panic("slow")
		}
		f.Remove(c)
		c.Write([]byte("you are slow"))
		f.Send(shared("a member is slow"))
	}})
	a := acceptN(t, g, 2)
	for _, x := range a {
		f.Add(x.c)
	}
	fill(t, a[0].c)
	barrier(t, g)
	m := shared("message")
	g.Loops()[0].Run(func() { // in one batch
		f.Send(m)
		f.Send(shared("next"))
	})
	expect(t, "the other member", a[1].peer, "messagenexta member is slow")
	if s := receive(t, called, "Slow"); s != m || len(called) != 0 {
		t.Error("Slow was called for another message, or again after Remove")
	}
	if _, err := io.ReadFull(a[0].peer, make([]byte, len(filler))); err != nil {
		t.Fatal(err)
	}
	expect(t, "the slow member", a[0].peer, "you are slow")

	fails.Store(true)
	fill(t, a[0].c)
	f.Add(a[0].c)
	barrier(t, g)
	f.Send(m)
	var p *loop.PanicError
	if why := receive(t, a[0].closed, "Closed"); !errors.As(why, &p) {
		t.Errorf("after a panic of Slow the connection has ended with %v, want a *PanicError", why)
	}
	expect(t, "the other member", a[1].peer, "message")
}

// A Slow that ends the loop's goroutine ends that loop only, and nothing stays pending.
func TestFanoutSlowEndsTheGoroutine(t *testing.T) {
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	f := loop.NewFanout(loop.FanoutConfig{MaxUnsentBytes: 1000, Slow: func(*loop.Conn, *loop.Shared) { runtime.Goexit() }})
	var a []member
	for len(a) < 8 || a[0].c.Loop() == a[len(a)-1].c.Loop() {
		a = append(a, acceptN(t, g, 1)...)
	}
	for _, x := range a {
		f.Add(x.c)
	}
	fill(t, a[0].c)
	barrier(t, g)
	freed := make(chan struct{})
	s := loop.NewSharedFunc([]byte("message"), func() { close(freed) })
	f.Send(s)
	s.Release()
	for i, x := range a {
		if x.c.Loop() == a[0].c.Loop() {
			receive(t, x.closed, "Closed")
			continue
		}
		expect(t, fmt.Sprint("member ", i), x.peer, "message")
	}
	receive(t, freed, "the function of NewSharedFunc")
	f.Send(shared("again"))
	expect(t, "a member on the other loop", a[len(a)-1].peer, "again")
	if s := f.Stats(); s.PendingMessages != 0 && !testkit.Eventually(func() bool { return f.Stats().PendingBytes == 0 }) {
		t.Errorf("messages of the loop that has ended are pending: %+v", s)
	}
}

// Send takes a message for all loops or for none, and reports why not.
func TestFanoutRefusesMessages(t *testing.T) {
	g := group(t, loop.Config{Loops: 2, MaxUnsentBytes: 1 << 20})
	f := loop.NewFanout(loop.FanoutConfig{MaxPendingMessages: 3, MaxPendingBytes: 1000, MaxUnsentBytes: 900})
	var a []member
	for len(a) < 2 || a[0].c.Loop() == a[len(a)-1].c.Loop() {
		a = append(a, acceptN(t, g, 1)...)
	}
	last := a[len(a)-1]
	f.Add(a[0].c)
	f.Add(last.c)
	blocked, release := make(chan struct{}), make(chan struct{})
	a[0].c.Loop().Run(func() { close(blocked); <-release })
	receive(t, blocked, "the function")
	var freed atomic.Int64
	send := func(n int, want error) {
		t.Helper()
		s := loop.NewSharedFunc(bytes.Repeat([]byte("x"), n), func() { freed.Add(1) })
		was := freed.Load()
		if err := f.Send(s); !errors.Is(err, want) {
			t.Errorf("Send of %d bytes returned %v, want %v", n, err, want)
		}
		if s.Release(); want != nil && freed.Load() != was+1 {
			t.Errorf("a refused message of %d bytes is not free", n)
		}
	}
	send(901, loop.ErrTooLarge)
	send(900, nil)
	send(101, loop.ErrQueueFull)
	send(100, nil)
	send(1, loop.ErrQueueFull)
	close(release)
	awaitIdle(t, f)
	block2, release2 := make(chan struct{}), make(chan struct{})
	last.c.Loop().Run(func() { close(block2); <-release2 })
	receive(t, block2, "the function")
	send(1, nil)
	send(1, nil)
	send(1, nil)
	send(1, loop.ErrQueueFull)
	close(release2)
	awaitIdle(t, f)
	for _, x := range []member{a[0], last} {
		expect(t, "a member", x.peer, strings.Repeat("x", 1003))
	}
	for name, err := range map[string]error{"nil": f.Send(nil), "released": f.Send(released()), "Add(nil)": f.Add(nil)} {
		if !errors.Is(err, loop.ErrBadArgument) {
			t.Errorf("%s returned %v, want ErrBadArgument", name, err)
		}
	}
	for _, c := range []loop.FanoutConfig{{MaxUnsentBytes: -1}, {MaxPendingMessages: -1}, {MaxPendingBytes: -1}} {
		func() {
			defer func() {
				if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "loop: NewFanout: Max") {
					t.Errorf("NewFanout(%+v) panicked with %q", c, s)
				}
			}()
			loop.NewFanout(c)
		}()
	}
}

func awaitIdle(t testing.TB, f *loop.Fanout) {
	t.Helper()
	if !testkit.Eventually(func() bool { return f.Stats().PendingMessages == 0 }) {
		t.Fatalf("messages stay pending: %+v", f.Stats())
	}
}

// Deliveries that take the budget of a turn are divided over turns; functions of Run get theirs in
// between, and a second Fanout does not wait for the first.
func TestL5FanoutIsDividedOverTurns(t *testing.T) {
	skipWithLayer(t, "the test counts turns, and a layer needs more of them until a peer is found slow")
	const n = 8
	g := group(t, loop.Config{Loops: 1})
	l := g.Loops()[0]
	a := acceptN(t, g, n)
	slow := 0
	large := loop.NewFanout(loop.FanoutConfig{MaxUnsentBytes: 100, Slow: func(*loop.Conn, *loop.Shared) { slow++; busy() }})
	slowAtSecond := -1
	second := loop.NewFanout(loop.FanoutConfig{MaxUnsentBytes: 100, Slow: func(*loop.Conn, *loop.Shared) { slowAtSecond = slow }})
	for _, x := range a {
		fill(t, x.c)
		large.Add(x.c)
	}
	second.Add(a[0].c)
	barrier(t, g)
	turns := make(chan int, 1)
	count := 0
	var step func()
	step = func() {
		if slow == n {
			turns <- count
			return
		}
		count++
		l.Run(step)
	}
	l.Run(func() {
		large.Send(shared("x"))
		second.Send(shared("x"))
		step()
	})
	if got := receive(t, turns, "the deliveries"); got < n {
		t.Errorf("%d deliveries that take the budget of a turn each were made in %d turns", n, got)
	}
	if slowAtSecond < 0 || slowAtSecond > 2 {
		t.Errorf("the second Fanout was served after %d of %d deliveries of the first, want after 1", slowAtSecond, n)
	}
}

// Shutdown while goroutines send: every message is freed once, and later calls report ErrClosed, or
// have no members.
func TestL8FanoutDuringShutdown(t *testing.T) {
	rounds := 10
	if testing.Short() || testkit.Race {
		rounds = 3
	}
	for round := range rounds {
		g, err := newGroup(t, loop.Config{Loops: 3, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		f := loop.NewFanout(loop.FanoutConfig{})
		a := acceptN(t, g, 12)
		for _, x := range a {
			f.Add(x.c)
		}
		var sent, freed atomic.Int64
		var senders sync.WaitGroup
		stop := make(chan struct{})
		for range 2 {
			senders.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					sent.Add(1)
					s := loop.NewSharedFunc(make([]byte, 100), func() { freed.Add(1) })
					if err := f.Send(s); err != nil && !errors.Is(err, loop.ErrQueueFull) {
						t.Errorf("Send during Shutdown returned %v", err)
					}
					s.Release()
				}
			})
		}
		if !testkit.Eventually(func() bool { return f.Stats().Deliveries > uint64(round*20) }) {
			t.Fatal("nothing is delivered")
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		g.Shutdown(ctx)
		close(stop)
		senders.Wait()
		if err := g.Shutdown(context.Background()); err != nil { // the first one does not wait for slow loops
			t.Log(err)
		}
		if sent.Load() != freed.Load() {
			t.Errorf("%d messages were sent, and %d freed: %+v", sent.Load(), freed.Load(), f.Stats())
		}
		if s := f.Stats(); s.Members != 0 || s.PendingMessages != 0 {
			t.Errorf("after Shutdown: %+v", s)
		}
		if err := f.Add(a[0].c); !errors.Is(err, loop.ErrClosed) {
			t.Errorf("Add after Shutdown returned %v, want ErrClosed", err)
		}
		if err := f.Send(shared("x")); err != nil {
			t.Errorf("Send to a Fanout without members returned %v", err)
		}
		for _, x := range a {
			x.peer.Close()
		}
	}
}

// In the steady state a delivery allocates nothing, on a queue that is empty or not.
func TestFanoutAllocatesNothing(t *testing.T) {
	skipWithLayer(t, "the layer of the tests allocates")
	skipOnSimulation(t, "it allocates for what is on its way")
	const n = 4
	g := group(t, loop.Config{Loops: 2})
	a := acceptN(t, g, n)
	for _, size := range []int{64, 4 << 10, 100 << 10} {
		f := loop.NewFanout(loop.FanoutConfig{})
		for _, x := range a {
			f.Add(x.c)
		}
		s := loop.NewSharedFunc(make([]byte, size), func() {})
		b := make([]byte, 2*size)
		if n := testing.AllocsPerRun(300, func() {
			f.Send(s)
			f.Send(s)
			for _, x := range a {
				io.ReadFull(x.peer, b)
			}
		}); n != 0 && !testkit.Race {
			t.Errorf("%v allocations for %d deliveries of %d bytes, want 0", n, 2*len(a), size)
		}
		for _, x := range a {
			f.Remove(x.c)
		}
	}
}

// A member gets what is sent after Add, also of a burst that the loop writes in one piece, and a
// member that leaves meanwhile gets nothing of it.
func TestL3FanoutJoinsInABurst(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	f := loop.NewFanout(loop.FanoutConfig{})
	a := acceptN(t, g, 4)
	f.Add(a[0].c)
	f.Add(a[1].c)
	f.Add(a[3].c)
	g.Loops()[0].Run(func() {
		f.Send(shared("one "))
		f.Send(shared("two "))
		f.Add(a[2].c)
		f.Remove(a[3].c)
		a[3].c.Write([]byte("left"))
		f.Send(shared("three"))
	})
	expect(t, "the first member", a[0].peer, "one two three")
	expect(t, "the second member", a[1].peer, "one two three")
	expect(t, "the late member", a[2].peer, "three")
	a[3].c.Close()
	if b, err := io.ReadAll(a[3].peer); string(b) != "left" || err != nil {
		t.Errorf("a connection that has left got %q, %v, want only what it wrote itself", b, err)
	}
}

// A burst of more bytes than may be unsent does not make a member slow whose peer reads, with any
// driver: it comes in batches.
func TestFanoutBurstIsNotSlow(t *testing.T) {
	const size, burst = 4 << 10, 100
	g := group(t, loop.Config{Loops: 1})
	f := loop.NewFanout(loop.FanoutConfig{MaxUnsentBytes: 2 * size})
	a := acceptN(t, g, 3)
	for _, x := range a {
		f.Add(x.c)
	}
	m := pattern(size)
	g.Loops()[0].Run(func() {
		for range burst {
			f.Send(loop.NewShared(m))
		}
	})
	for _, x := range a {
		expect(t, "a member", x.peer, strings.Repeat(string(m), burst))
	}
	awaitIdle(t, f)
	if s := f.Stats(); s.Skipped != 0 || s.Deliveries != burst*uint64(len(a)) || s.Members != len(a) {
		t.Errorf("after a burst: %+v", s)
	}
}

// What the kernel does not take of a message counts for back-pressure: Drained is called when the
// peer has read it.
func TestL4FanoutCountsForBackpressure(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, HighWatermarkBytes: 4 << 10})
	f := loop.NewFanout(loop.FanoutConfig{})
	drained := make(chan int, 1)
	a := acceptN(t, g, 1)[0]
	a.c.SetHandler(&funcs{drained: func(c *loop.Conn) { drained <- c.Unsent() }})
	f.Add(a.c)
	barrier(t, g)
	f.Send(loop.NewShared(filler))
	if _, err := io.ReadFull(a.peer, make([]byte, len(filler))); err != nil {
		t.Fatal(err)
	}
	if n := receive(t, drained, "Drained"); n > 4<<10 {
		t.Errorf("Drained was called with %d bytes unsent, want at most LowWatermarkBytes", n)
	}
}
