package netconn_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

// isReset reports whether err is one of those that the reset of the peer causes.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}

// neverTaken is more bytes than kernels and loops hold for a peer that reads nothing.
const neverTaken = 32 << 20

// Each call of a closed connection returns net.ErrClosed in a *net.OpError, addresses stay, and calls in progress
// end.
func TestClose(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		waiting := start(func() (int, error) { return peer.Write(make([]byte, neverTaken)) })
		reading := start(func() (int, error) { return peer.Read(make([]byte, 1)) })
		queued := start(func() (int, error) { return peer.Read(make([]byte, 1)) })
		local := c.LocalAddr().String()
		for _, x := range []*netconn.Conn{peer, c} {
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, r := range []<-chan result{reading, queued} {
			checkOpError(t, (<-r).err, "read", net.ErrClosed)
		}
		checkOpError(t, (<-waiting).err, "write", net.ErrClosed)
		_, err := c.Read(make([]byte, 1))
		checkOpError(t, err, "read", net.ErrClosed)
		_, err = c.Read(nil)
		checkOpError(t, err, "read", net.ErrClosed)
		_, err = c.Write(nil)
		checkOpError(t, err, "write", net.ErrClosed)
		_, err = c.WriteTo(io.Discard)
		checkOpError(t, err, "read", net.ErrClosed)
		_, err = c.ReadFrom(bytes.NewReader([]byte("x")))
		checkOpError(t, err, "write", net.ErrClosed)
		for _, f := range []func(time.Time) error{c.SetDeadline, c.SetReadDeadline, c.SetWriteDeadline} {
			checkOpError(t, f(time.Now()), "set", net.ErrClosed)
		}
		for op, err := range map[string]error{"set": c.SetNoDelay(true), "close": c.Close()} {
			checkOpError(t, err, op, net.ErrClosed)
		}
		checkOpError(t, c.CloseRead(), "close", net.ErrClosed)
		checkOpError(t, c.CloseWrite(), "close", net.ErrClosed)
		checkOpError(t, c.SetLinger(0), "set", net.ErrClosed)
		checkOpError(t, c.SetKeepAlive(true), "set", net.ErrClosed)
		if c.LocalAddr().String() != local || c.RemoteAddr().String() != peer.LocalAddr().String() {
			t.Errorf("the addresses after Close are %v and %v", c.LocalAddr(), c.RemoteAddr())
		}
	})
}

// A deadline that is set while a call waits ends it, one that has passed ends later calls at once, even with bytes to read,
// and removing it makes them work again.
func TestDeadlines(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		for _, when := range []time.Time{time.Unix(1, 0), time.Now().Add(time.Millisecond)} {
			reading := start(func() (int, error) { return c.Read(make([]byte, 1)) })
			c.SetReadDeadline(when)
			r := <-reading
			checkOpError(t, r.err, "read", os.ErrDeadlineExceeded)
			if n, ok := r.err.(net.Error); !ok || !n.Timeout() || r.n != 0 {
				t.Errorf("%d, %v, want 0 and a net.Error that is a timeout", r.n, r.err)
			}
		}
		peer.Write([]byte("castor"))
		_, err := c.Read(make([]byte, 1))
		checkOpError(t, err, "read", os.ErrDeadlineExceeded)
		if n, err := c.Read(nil); n != 0 || err != nil {
			t.Errorf("Read of nothing: %d, %v", n, err) // as package net has it
		}
		c.SetReadDeadline(time.Time{})
		b := make([]byte, 6)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "castor" {
			t.Errorf("%q, %v", b, err)
		}
		c.SetWriteDeadline(time.Unix(1, 0))
		n, err := c.Write([]byte("pollux"))
		if checkOpError(t, err, "write", os.ErrDeadlineExceeded); n != 0 {
			t.Errorf("%d bytes were written after the deadline", n)
		}
		c.SetDeadline(time.Time{})
		if n, err := c.Write([]byte("pollux")); n != 6 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// A deadline that has been moved does not end calls at its old time.
func TestDeadlineMoved(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		c, _ := pair(t, g, "tcp")
		began := time.Now()
		c.SetReadDeadline(began.Add(time.Second))
		reading := start(func() (int, error) { return c.Read(make([]byte, 1)) })
		time.Sleep(time.Second / 2)
		c.SetReadDeadline(began.Add(time.Minute))
		checkOpError(t, (<-reading).err, "read", os.ErrDeadlineExceeded)
		if took := time.Since(began); took != time.Minute {
			t.Errorf("Read has ended after %v, want 1m", took)
		}
		c.SetReadDeadline(time.Now().Add(time.Second))
		c.SetReadDeadline(time.Time{})
		reading = start(func() (int, error) { return c.Read(make([]byte, 1)) })
		time.Sleep(time.Hour)
		select {
		case r := <-reading:
			t.Errorf("Read without a deadline: %v", r.err)
		default:
		}
	})
}

// Write waits while more than the high watermark is unsent, for as long as the peer reads nothing, and what it
// returns at the deadline is what the peer gets. Meanwhile the connection reads.
func TestWriteWaits(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		for _, swap := range []bool{false, true} { // both ends: accepted connections have back-pressure otherwise
			c, peer := pair(t, g, "tcp")
			if swap {
				c, peer = peer, c
			}
			total := fill(t, c)
			if _, err := peer.Write([]byte("castor")); err != nil {
				t.Fatal(err)
			}
			discard(t, c, 6)
			c.SetWriteDeadline(time.Time{})
			waiting := start(func() (int, error) { return c.Write(make([]byte, 1<<20)) })
			discard(t, peer, total+1<<20)
			if r := <-waiting; r.n != 1<<20 || r.err != nil {
				t.Errorf("%d, %v", r.n, r.err)
			}
			peer.SetReadDeadline(time.Unix(1, 0))
			peer.SetReadDeadline(time.Time{})
			c.Close()
			if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%d, %v after the last byte, want io.EOF", n, err)
			}
		}
	})
}

// A connection that nobody reads keeps a bounded number of bytes.
func TestUnreadIsBounded(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		total := fill(t, c)
		time.Sleep(time.Second)
		unread, most := netconn.Unread(peer), netconn.MaxUnreadBytes+g.Config().TurnBudgetBytes
		if unread < netconn.MaxUnreadBytes || unread > most {
			t.Errorf("%d bytes are unread, want %d to %d", unread, netconn.MaxUnreadBytes, most)
		}
		discard(t, peer, total)
		if n := netconn.Unread(peer); n != 0 {
			t.Errorf("%d bytes are unread, want 0", n)
		}
	})
}

// Half-closing: the peer reads everything and io.EOF, again and again, and may go on writing. CloseRead ends Read alone.
func TestHalfClose(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		for _, network := range []string{"tcp", "unix"} {
			c, peer := pair(t, g, network)
			c.Write([]byte("castor"))
			for range 2 {
				if err := c.CloseWrite(); err != nil {
					t.Error(err)
				}
			}
			_, err := c.Write([]byte("x"))
			checkOpError(t, err, "write", syscall.EPIPE)
			if b, err := io.ReadAll(peer); err != nil || string(b) != "castor" {
				t.Errorf("%q, %v", b, err)
			}
			if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%d, %v, want io.EOF", n, err)
			}
			peer.Write([]byte("pollux"))
			discard(t, c, 6)
			reading := start(func() (int, error) { return c.Read(make([]byte, 1)) })
			if err := c.CloseRead(); err != nil {
				t.Error(err)
			}
			if r := <-reading; r.err != io.EOF {
				t.Errorf("%d, %v after CloseRead, want io.EOF", r.n, r.err)
			}
			if _, err := peer.Write(make([]byte, 1<<20)); err != nil { // it is dropped
				t.Error(err)
			}
		}
	})
}

// After a reset, what was received before is read, then Read and Write return the system's error, and not
// net.ErrClosed.
func TestReset(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		peer.Write([]byte("castor"))
		discard(t, c, 5) // "r" has been received
		peer.SetLinger(0)
		peer.Close()
		b, err := io.ReadAll(struct{ io.Reader }{c})
		if string(b) != "r" || !isReset(err) || errors.Is(err, net.ErrClosed) {
			t.Errorf("%q, %v, want r and ECONNRESET", b, err)
		}
		checkOpError(t, err, "read", syscall.ECONNRESET)
		_, err = c.Write([]byte("x"))
		checkOpError(t, err, "write", syscall.EPIPE)
		if errors.Is(err, net.ErrClosed) {
			t.Errorf("%v wraps net.ErrClosed", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Writes into a connection that the peer resets end with the system's error, also one that waits.
func TestResetOfWriter(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		waiting := start(func() (int, error) { return c.Write(make([]byte, neverTaken)) })
		peer.SetLinger(0)
		peer.Close()
		if r := <-waiting; !isReset(r.err) || errors.Is(r.err, net.ErrClosed) {
			t.Errorf("%d, %v, want ECONNRESET or EPIPE", r.n, r.err)
		}
	})
}

// If a Write finds that the peer is gone, Read gets what was received before, and then ECONNRESET: no end of the stream, and no
// EPIPE.
func TestReadAfterFailedWrite(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "unix") // which has no reset: only sending fails
		peer.Write(make([]byte, 2*netconn.MaxUnreadBytes))
		if !testkit.Eventually(func() bool { return netconn.Unread(c) >= netconn.MaxUnreadBytes }) { // so the loop does not receive
			t.Fatal(netconn.Unread(c))
		}
		peer.SetLinger(0)
		peer.Close()
		var err error
		for err == nil {
			_, err = c.Write(make([]byte, 1000))
		}
		if !isReset(err) {
			t.Error(err)
		}
		n, err := io.Copy(io.Discard, struct{ io.Reader }{c})
		if n > 2*netconn.MaxUnreadBytes || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%d bytes, %v, want ECONNRESET, or nil if the end of the stream came first", n, err)
		}
	})
}

// In callbacks of the group, calls that would wait return loop.ErrOnLoop, and others work.
func TestOnLoop(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		ln := listen(t, g, "tcp")
		p := must(netconn.ListenPacket(g, "udp", "127.0.0.1:0"))
		defer p.Close()
		for _, l := range g.Loops() {
			errs := make(chan error, 6)
			l.Run(func() {
				_, err := c.Read(make([]byte, 1))
				errs <- err
				_, err = ln.Accept()
				errs <- err
				_, _, err = p.ReadFrom(make([]byte, 1))
				errs <- err
				_, err = netconn.Dial(g, "tcp", ln.Addr().String())
				errs <- err
				_, err = netconn.Dial(g, "tcp", "name.invalid:80")
				errs <- err
				_, err = c.Write([]byte("x"))
				errs <- err
			})
			for _, op := range []string{"read", "accept", "read", "dial", "dial"} {
				checkOpError(t, <-errs, op, loop.ErrOnLoop)
			}
			if err := <-errs; err != nil {
				t.Error(err)
			}
			discard(t, peer, 1)
		}
		errs := make(chan error, 1)
		g.Loops()[0].Run(func() {
			_, err := c.Write(make([]byte, neverTaken))
			errs <- err
		})
		checkOpError(t, <-errs, "write", loop.ErrOnLoop)
	})
}

// Calls of many goroutines at a time get each byte once, in order.
func TestConcurrentReadersAndWriters(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		const writers, readers, writes, size = 4, 4, 50, 1000
		c, peer := pair(t, g, "tcp")
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for range writes {
					if n, err := c.Write(bytes.Repeat([]byte{byte(i)}, size)); n != size || err != nil {
						t.Errorf("%d, %v", n, err)
					}
				}
			})
		}
		var mu sync.Mutex
		var counts [writers]int
		var rg sync.WaitGroup
		for range readers {
			rg.Go(func() {
				b := make([]byte, 777)
				for {
					n, err := peer.Read(b)
					mu.Lock()
					for _, x := range b[:n] {
						counts[x]++
					}
					mu.Unlock()
					if err != nil {
						if err != io.EOF {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		wg.Wait()
		c.CloseWrite()
		rg.Wait()
		for i, n := range counts {
			if n != writes*size {
				t.Errorf("writer %d: %d bytes arrived, want %d", i, n, writes*size)
			}
		}
	})
}

// io.Copy passes on all bytes, in both directions, and the end of the stream.
func TestCopy(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		all := make([]byte, 3<<20+7)
		rand.NewChaCha8([32]byte{3}).Read(all)
		echo := start(func() (int, error) {
			n, err := io.Copy(peer, peer) // WriteTo
			peer.CloseWrite()
			return int(n), err
		})
		sent := start(func() (int, error) {
			n, err := io.Copy(c, struct{ io.Reader }{bytes.NewReader(all)}) // ReadFrom
			c.CloseWrite()
			return int(n), err
		})
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, all) {
			t.Errorf("%d bytes came back, %v, want the %d that were sent", len(got), err, len(all))
		}
		for _, r := range []<-chan result{echo, sent} {
			if r := <-r; r.n != len(all) || r.err != nil {
				t.Errorf("%d, %v", r.n, r.err)
			}
		}
	})
}

// Options of TCP reach the socket, and those that a Unix socket does not have are errors.
func TestOptions(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		c, _ := pair(t, g, "tcp")
		for what, err := range map[string]error{
			"SetNoDelay": c.SetNoDelay(false), "SetKeepAlive": c.SetKeepAlive(false), "SetKeepAlivePeriod": c.SetKeepAlivePeriod(time.Minute),
			"SetKeepAliveConfig": c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true}), "SetReadBuffer": c.SetReadBuffer(1 << 16),
			"SetWriteBuffer": c.SetWriteBuffer(1 << 16), "SetLinger": c.SetLinger(-1),
		} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		called := false
		if err := raw.Control(func(uintptr) { called = true }); err != nil || !called {
			t.Errorf("Control: %v", err)
		}
		checkOpError(t, c.SetReadBuffer(0), "set", loop.ErrBadArgument)
		u, _ := pair(t, g, "unix")
		checkOpError(t, u.SetNoDelay(true), "set", errors.ErrUnsupported)
	})
}

// A group that has been shut down ends its connections and listeners: calls return errors that wrap net.ErrClosed.
func TestGroupEnds(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		ln := listen(t, g, "tcp")
		p := must(netconn.ListenPacket(g, "udp", "127.0.0.1:0"))
		calls := map[string]<-chan result{
			"read":   start(func() (int, error) { return c.Read(make([]byte, 1)) }),
			"write":  start(func() (int, error) { return c.Write(make([]byte, neverTaken)) }),
			"accept": start(func() (int, error) { _, err := ln.Accept(); return 0, err }),
		}
		packets := start(func() (int, error) { n, _, err := p.ReadFrom(make([]byte, 1)); return n, err })
		shutdownNow(g)
		for op, r := range calls {
			checkOpError(t, (<-r).err, op, net.ErrClosed)
		}
		checkOpError(t, (<-packets).err, "read", net.ErrClosed)
		_, err := peer.Write([]byte("x"))
		checkOpError(t, err, "write", net.ErrClosed)
		_, err = netconn.Dial(g, "tcp", ln.Addr().String())
		checkOpError(t, err, "dial", net.ErrClosed)
		_, err = netconn.Dial(g, "tcp", "name.invalid:80")
		checkOpError(t, err, "dial", net.ErrClosed)
		p.Close()
	})
}

// Read and Write allocate nothing, whether Read waits or the bytes come first.
func TestAllocations(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	onBackends(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		go io.Copy(peer, struct{ io.Reader }{peer})
		b := make([]byte, 64)
		if n := testing.AllocsPerRun(500, func() {
			c.Write(b)
			if _, err := io.ReadFull(c, b); err != nil {
				t.Fatal(err)
			}
		}); n >= 1 {
			t.Errorf("%v allocations for a message and its echo", n)
		}
	})
}
