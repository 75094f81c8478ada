package netconn_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

// isReset reports whether err is one of those that the reset of the peer causes.
func isReset(err error) bool {
	return isErrno(err, syscall.ECONNRESET) || isErrno(err, syscall.EPIPE) || isErrno(err, syscall.ECONNABORTED)
}

// Half-closing: the peer reads everything and io.EOF, again and again, and may go on writing. CloseRead ends Read alone.
func TestHalfClose(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		for _, network := range streamNetworks(t, g) {
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
		if err == nil && hidesResets(g) {
			t.Skip(resetMayBeEOF)
		}
		if string(b) != "r" || !isReset(err) || errors.Is(err, net.ErrClosed) {
			t.Errorf("%q, %v, want r and ECONNRESET", b, err)
		}
		checkOpError(t, err, "read", syscall.ECONNRESET)
		_, err = c.Write([]byte("x"))
		if runtime.GOOS == "windows" { // where each call gets it
			checkOpError(t, err, "write", syscall.ECONNRESET)
		} else {
			checkOpError(t, err, "write", syscall.EPIPE)
		}
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

// If a Write finds that the peer is gone, Read gets what was received before, and then ECONNRESET: no end of
// the stream, and no EPIPE.
func TestReadAfterFailedWrite(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		if !hasUnix(g) {
			t.Skip(noUnixOnWine)
		}
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
