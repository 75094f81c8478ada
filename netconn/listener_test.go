package netconn_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

func accepting(ln net.Listener) <-chan result {
	return start(func() (int, error) {
		c, err := ln.Accept()
		if err == nil {
			c.Close()
		}
		return 0, err
	})
}

// Close ends Accept, and resets the connections that no Accept has returned; the others stay.
func TestListenerClose(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp") // its listener is closed
		ln := listen(t, g, "tcp")
		waiting, queued := accepting(ln), accepting(ln)
		address := ln.Addr().String()
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		for _, r := range []<-chan result{waiting, queued} {
			checkOpError(t, (<-r).err, "accept", net.ErrClosed)
		}
		_, err := ln.Accept()
		checkOpError(t, err, "accept", net.ErrClosed)
		checkOpError(t, ln.Close(), "close", net.ErrClosed)
		checkOpError(t, ln.SetDeadline(time.Now()), "set", net.ErrClosed)
		if ln.Addr().String() != address {
			t.Errorf("Addr after Close is %v, want %v", ln.Addr(), address)
		}
		checkRefused(t, g, address)

		ln = listen(t, g, "tcp")
		lost := must(netconn.Dial(g, "tcp", ln.Addr().String()))
		defer lost.Close()
		ln.Close()
		if n, err := lost.Read(make([]byte, 1)); !isReset(err) && !(err == io.EOF && hidesResets(g)) {
			t.Errorf("%d, %v, want ECONNRESET", n, err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		discard(t, peer, 1)
	})
}

// checkRefused fails the test unless dialing a closed listener fails. Wine keeps the socket open until operations that
// were cancelled have ended, and connects to it until then; closesocket of Windows ends both.
func checkRefused(t *testing.T, g *loop.Group, address string) {
	t.Helper()
	var err error
	refused := func() bool {
		var c net.Conn
		if c, err = netconn.Dial(g, "tcp", address); err == nil {
			c.Close()
		}
		return err != nil
	}
	if !refused() && sys.OnWine() {
		testkit.Eventually(refused)
	}
	checkOpError(t, err, "dial", syscall.ECONNREFUSED)
}

// A deadline ends Accept as it ends Read.
func TestListenerDeadline(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		waiting := accepting(ln)
		ln.SetDeadline(time.Now().Add(time.Millisecond))
		checkOpError(t, (<-waiting).err, "accept", os.ErrDeadlineExceeded)
		ln.SetDeadline(time.Time{})
		waiting = accepting(ln)
		c := must(netconn.Dial(g, "tcp", ln.Addr().String()))
		defer c.Close()
		if r := <-waiting; r.err != nil {
			t.Error(r.err)
		}
	})
}

// At most a named number of connections waits for Accept, beside the few that were accepted before the loops stopped:
// the others wait in the kernel, and all are served in the end.
func TestBacklogIsBounded(t *testing.T) {
	const clients = 2*netconn.MaxBacklog + 10
	onSim(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		var ends []net.Conn
		for range clients { // connecting needs the kernel alone
			ends = append(ends, must(netconn.Dial(g, "tcp", ln.Addr().String())))
			time.Sleep(time.Millisecond)
		}
		const most = netconn.MaxBacklog + 64 // looptest.Adversity.HeldAccepts
		if n := ln.Backlog(); n < netconn.MaxBacklog || n > most {
			t.Errorf("%d connections wait for Accept, want %d to %d", n, netconn.MaxBacklog, most)
		}
		for range clients {
			c := must(ln.Accept())
			c.Write([]byte("x"))
			c.Close()
		}
		for _, c := range ends {
			discard(t, c, 1)
			c.Close()
		}
		if n := ln.Backlog(); n != 0 {
			t.Errorf("%d connections wait for Accept, want 0", n)
		}
	})
}

// Invalid arguments are errors.
func TestMisuse(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		for what, f := range map[string]func() error{
			"Listen without a group":       func() error { _, err := netconn.Listen(nil, "tcp", ":0"); return err },
			"Listen on a name":             func() error { _, err := netconn.Listen(g, "tcp", "name.invalid:0"); return err },
			"ListenPacket without a group": func() error { _, err := netconn.ListenPacket(nil, "udp", ":0"); return err },
			"Dial without a group":         func() error { _, err := netconn.Dial(nil, "tcp", "10.0.0.1:1"); return err },
			"Dial of UDP":                  func() error { _, err := netconn.Dial(g, "udp", "10.0.0.1:1"); return err },
			"Dial without a port":          func() error { _, err := netconn.Dial(g, "tcp", "10.0.0.1"); return err },
			"Dial of another network":      func() error { _, err := netconn.Dial(g, "ip", "10.0.0.1:1"); return err },
		} {
			var op *net.OpError
			if err := f(); !errors.As(err, &op) {
				t.Errorf("%s: %v, want a *net.OpError", what, err)
			}
		}
	})
}

// Addresses are those of the other end, over TCP and Unix sockets.
func TestAddresses(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		for _, network := range streamNetworks(t, g) {
			c, peer := pair(t, g, network)
			if a, b := c.RemoteAddr(), peer.LocalAddr(); a.String() != b.String() || a.Network() != network {
				t.Errorf("dialed: %v, accepted: %v", a, b)
			}
			if a, b := peer.RemoteAddr(), c.LocalAddr(); a == nil || b == nil || network == "tcp" && a.String() != b.String() {
				t.Errorf("accepted: %v, dialed: %v", a, b)
			}
			c.Close()
			if _, err := io.ReadAll(peer); err != nil {
				t.Error(err)
			}
		}
	})
}
