package netconn_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

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
		if !hasUnix(g) {
			t.Skip("a Unix socket is " + noUnixOnWine)
		}
		u, _ := pair(t, g, "unix")
		checkOpError(t, u.SetNoDelay(true), "set", errors.ErrUnsupported)
	})
}
