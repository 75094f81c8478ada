package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// member is a connection of a group, and its peer.
type member struct {
	c      *loop.Conn
	peer   tcpConn
	closed chan error
}

// acceptN returns n connections of g, spread over its loops as the system does it.
func acceptN(t testing.TB, g *loop.Group, n int) []member {
	t.Helper()
	opened := make(chan member, 1)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler {
		a := member{c: c, closed: make(chan error, 1)}
		return &funcs{
			opened: func(*loop.Conn) { opened <- a },
			closed: func(_ *loop.Conn, why error) { a.closed <- why },
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []member
	for range n {
		p := dial(t, ln.Addr())
		a := receive(t, opened, "a connection")
		a.peer = p
		all = append(all, a)
	}
	return all
}

// barrier waits until all loops of g have done what was submitted to them before.
func barrier(t testing.TB, g *loop.Group) {
	t.Helper()
	for _, l := range g.Loops() {
		done := make(chan struct{})
		if err := l.Run(func() { close(done) }); err != nil {
			t.Fatal(err)
		}
		receive(t, done, "a function on a loop")
	}
}

// pattern returns n bytes that differ from their neighbours.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

// WriteShared keeps the order among the writes of all kinds, in callbacks and elsewhere, for
// messages of every size, and the function of NewSharedFunc is called once for each.
func TestL3WriteSharedKeepsTheOrder(t *testing.T) {
	const rounds = 3
	sizes := []int{0, 1, 100, 256, 257, 512, 513, 4 << 10, 20 << 10, 100 << 10, 300 << 10}
	var freed, made atomic.Int64
	var want []byte
	for range rounds {
		for _, n := range sizes {
			want = append(append(append(want, "a"...), pattern(n)...), "b"...)
		}
	}
	write := func(c *loop.Conn) {
		for range rounds {
			for _, n := range sizes {
				made.Add(1)
				s := loop.NewSharedFunc(pattern(n), func() { freed.Add(1) })
				c.Write([]byte("a"))
				if k, err := c.WriteShared(s); k != n || err != nil {
					t.Errorf("WriteShared of %d bytes returned %d, %v", n, k, err)
				}
				s.Release()
				c.WriteOwned([]byte("b"), nil)
			}
		}
	}
	g := group(t, loop.Config{Loops: 1})
	a := acceptN(t, g, 2)
	a[0].c.SetHandler(&funcs{data: func(c *loop.Conn, b []byte) (int, error) {
		write(c)
		return len(b), nil
	}})
	a[0].peer.Write([]byte("!"))
	write(a[1].c)
	for i, x := range a {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(x.peer, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("connection %d: %v, or the bytes are not those written, in order", i, err)
		}
	}
	if !testkit.Eventually(func() bool { return freed.Load() == made.Load() }) {
		t.Errorf("%d functions of NewSharedFunc were called, want %d", freed.Load(), made.Load())
	}
}

// So it does when nothing is queued: what the callback wrote before comes first.
func TestL3WriteSharedBehindStagedBytes(t *testing.T) {
	sizes := []int{0, 1, 512, 513, 4 << 10, 100 << 10}
	calls := 0
	_, peer := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			c.Write([]byte("a"))
			c.WriteShared(loop.NewShared(pattern(sizes[calls])))
			c.Write([]byte("b"))
			calls++
			return len(b), nil
		}}
	})
	for _, n := range sizes {
		peer.Write([]byte("!"))
		expect(t, fmt.Sprintf("with %d bytes, the peer", n), peer, "a"+string(pattern(n))+"b")
	}
}

// The errors of WriteShared are those of Write. A message that is refused is not kept.
func TestL3WriteSharedErrors(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, HighWatermarkBytes: 4 << 10, MaxUnsentBytes: 8 << 10})
	a := acceptN(t, g, 1)[0]
	for name, x := range map[string]struct {
		s    *loop.Shared
		want error
	}{
		"nil":      {nil, loop.ErrBadArgument},
		"released": {released(), loop.ErrBadArgument},
		"large":    {loop.NewShared(make([]byte, 8<<10+1)), loop.ErrTooLarge},
	} {
		n, err := a.c.WriteShared(x.s)
		var op *net.OpError
		if n != 0 || !errors.Is(err, x.want) || !errors.As(err, &op) {
			t.Errorf("%s: WriteShared returned %d, %v, want a *net.OpError of %v", name, n, err, x.want)
		}
	}
	var freed atomic.Int64
	s := loop.NewSharedFunc(make([]byte, 8<<10), func() { freed.Add(1) })
	full := make(chan error, 1)
	g.Loops()[0].Run(func() { // nothing is sent meanwhile
		a.c.WriteShared(s)
		_, err := a.c.WriteShared(s)
		full <- err
	})
	if err := receive(t, full, "WriteShared"); !errors.Is(err, loop.ErrBufferFull) || errors.Is(err, loop.ErrTooLarge) {
		t.Errorf("WriteShared above MaxUnsentBytes returned %v, want ErrBufferFull", err)
	}
	a.peer.Close()
	receive(t, a.closed, "Closed")
	if _, err := a.c.WriteShared(s); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("WriteShared after Closed returned %v, want ErrClosed", err)
	}
	if freed.Load() != 0 {
		t.Error("the memory was freed before Release")
	}
	s.Release()
	if freed.Load() != 1 {
		t.Errorf("Release of the last reference has called the function %d times, want once", freed.Load())
	}
}

// After Release nothing can be written, even while connections still refer to the memory: whether
// they do does not depend on the caller. What was written before is sent.
func TestSharedAfterRelease(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	a := acceptN(t, g, 1)[0]
	f := loop.NewFanout(loop.FanoutConfig{})
	if err := f.Add(a.c); err != nil {
		t.Fatal(err)
	}
	blocked, release, freed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	g.Loops()[0].Run(func() { close(blocked); <-release }) // nothing is sent meanwhile
	receive(t, blocked, "the function")
	s := loop.NewSharedFunc([]byte("before"), func() { close(freed) })
	if _, err := a.c.WriteShared(s); err != nil {
		t.Error(err)
	}
	s.Release()
	if n, err := a.c.WriteShared(s); n != 0 || !errors.Is(err, loop.ErrBadArgument) {
		t.Errorf("WriteShared after Release returned %d, %v, want ErrBadArgument", n, err)
	}
	if err := f.Send(s); !errors.Is(err, loop.ErrBadArgument) {
		t.Errorf("Send after Release returned %v, want ErrBadArgument", err)
	}
	close(release)
	receive(t, freed, "the function of NewSharedFunc")
	f.Send(loop.NewShared([]byte(" after")))
	expect(t, "the peer", a.peer, "before after")
}

func released() *loop.Shared {
	s := loop.NewSharedFunc([]byte("x"), func() {})
	s.Release()
	return s
}

func TestSharedMisusePanics(t *testing.T) {
	for name, f := range map[string]func(){
		"NewSharedFunc(nil)": func() { loop.NewSharedFunc(nil, nil) },
		"Release, twice":     func() { released().Release() },
	} {
		func() {
			defer func() {
				if s, ok := recover().(string); !ok || s[:6] != "loop: " {
					t.Errorf("%s panicked with %q, want a message that begins with loop:", name, s)
				}
			}()
			f()
		}()
	}
	s := loop.NewShared([]byte("ab"))
	s.Release()
	s.Release()
	if s.Len() != 2 || string(s.Bytes()) != "ab" {
		t.Errorf("after Release a NewShared has %q, want ab", s.Bytes())
	}
}

// Connections whose peers do not read hold one copy of a message: no buffer of a loop is used.
// The function of NewSharedFunc is called when the last of them has ended.
func TestL3SlowConnsShareOneCopy(t *testing.T) {
	const n, size = 20, 4 << 10
	for _, how := range []string{"another goroutine", "a callback", "a Fanout"} {
		t.Run(how, func(t *testing.T) {
			g := group(t, loop.Config{Loops: 2})
			a := acceptN(t, g, n)
			freed := make(chan struct{})
			s := loop.NewSharedFunc(pattern(size), func() { close(freed) })
			f := loop.NewFanout(loop.FanoutConfig{})
			filler := make([]byte, 16<<20) // more than the kernel takes
			for _, x := range a {
				x.c.WriteOwned(filler, nil)
				if err := f.Add(x.c); err != nil {
					t.Fatal(err)
				}
			}
			barrier(t, g)
			var written sync.WaitGroup
			written.Add(n)
			write := func(c *loop.Conn) {
				defer written.Done()
				if _, err := c.WriteShared(s); err != nil {
					t.Error(err)
				}
			}
			switch how {
			case "a callback":
				g.Each(write)
				written.Wait()
			case "a Fanout":
				if err := f.Send(s); err != nil {
					t.Error(err)
				}
				if !testkit.Eventually(func() bool { return f.Stats().Deliveries == n }) {
					t.Fatalf("timed out: %+v", f.Stats())
				}
			default:
				for _, x := range a {
					write(x.c)
				}
			}
			s.Release()
			var unsent, lent int
			if !testkit.Eventually(func() (complete bool) {
				unsent, lent, complete = 0, 0, true
				for _, l := range g.Stats().Loops {
					unsent, lent, complete = unsent+l.UnsentBytes, lent+l.BytesLent, complete && !l.Partial
				}
				return complete
			}) {
				t.Fatal("Stats remains partial")
			}
			if lent != 0 || unsent < n*size {
				t.Errorf("%d bytes are unsent, want at least %d; %d bytes of the loops' buffers are in use, want 0", unsent, n*size, lent)
			}
			for i, x := range a {
				select {
				case <-freed:
					t.Fatal("the memory was freed while connections had not sent it")
				default:
				}
				if i%2 == 0 {
					x.c.Abort()
					continue
				}
				got := make([]byte, len(filler)+size)
				if _, err := io.ReadFull(x.peer, got); err != nil || !bytes.Equal(got[len(filler):], pattern(size)) {
					t.Errorf("a peer got %v, or not the message", err)
				}
			}
			receive(t, freed, "the function of NewSharedFunc")
		})
	}
}

// The memory is freed, once, when the group has been cut off.
func TestSharedIsFreedByShutdown(t *testing.T) {
	g := group(t, loop.Config{Loops: 2})
	var freed atomic.Int64
	s := loop.NewSharedFunc(make([]byte, 16<<20), func() { freed.Add(1) })
	for _, x := range acceptN(t, g, 4) {
		if _, err := x.c.WriteShared(s); err != nil {
			t.Error(err)
		}
	}
	s.Release()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g.Shutdown(ctx)
	if freed.Load() != 1 {
		t.Errorf("the function of NewSharedFunc was called %d times, want once", freed.Load())
	}
}

// A function of NewSharedFunc that panics on a loop is logged, and the loop goes on.
func TestSharedFuncPanics(t *testing.T) {
	g := group(t, loop.Config{Loops: 1, Logger: failOnLog(t, "NewSharedFunc's function panicked")})
	a := acceptN(t, g, 1)[0]
	s := loop.NewSharedFunc(make([]byte, 1000), func() { panic("freed") })
	g.Loops()[0].Run(func() {
		a.c.WriteShared(s)
		s.Release()
	})
	a.c.Write([]byte("end"))
	if _, err := io.ReadFull(a.peer, make([]byte, 1003)); err != nil {
		t.Error(err)
	}
}

// WriteShared allocates nothing.
func TestWriteSharedAllocatesNothing(t *testing.T) {
	skipWithLayer(t, "the layer of the tests allocates")
	skipOnSimulation(t, "it allocates for what is on its way")
	for _, size := range []int{64, 4 << 10} {
		s := loop.NewSharedFunc(make([]byte, size), func() {})
		_, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
			return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
				c.WriteShared(s)
				return len(b), nil
			}}
		})
		b := make([]byte, size)
		if n := testing.AllocsPerRun(500, func() {
			c.Write(b[:1])
			io.ReadFull(c, b)
		}); n != 0 && !testkit.Race {
			t.Errorf("%v allocations for each message of %d bytes, want 0", n, size)
		}
	}
}
