package netconn_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

// afterParking is a time after which an idle ReadOrPark has parked its connection, on a simulated clock.
const afterParking = 2*netconn.ParkAfter + 50*time.Millisecond

// accept returns the next connection of ln.
func accept(t testing.TB, ln *netconn.Listener) *netconn.Conn {
	t.Helper()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*netconn.Conn)
}

// park parks c, the only connection of ln, which waits for wakeBytes bytes.
func park(t testing.TB, ln *netconn.Listener, c *netconn.Conn, wakeBytes int) {
	t.Helper()
	n, err := c.ReadOrPark(make([]byte, 16), wakeBytes)
	checkOpError(t, err, "read", netconn.ErrParked)
	if n != 0 || !c.Parked() || ln.Parked() != 1 {
		t.Fatalf("%d bytes, parked: %v, and %d of the listener", n, c.Parked(), ln.Parked())
	}
}

// dial dials ln. The connection is closed after the test.
func dial(t testing.TB, g *loop.Group, ln *netconn.Listener) *netconn.Conn {
	t.Helper()
	c, err := netconn.Dial(g, ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*netconn.Conn)
}

// checkEOF fails the test unless the peer has closed the connection.
func checkEOF(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("%d, %v, want io.EOF", n, err)
	}
}

// expect reads what was sent.
func expect(t testing.TB, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("%q, %v, want %q", b, err, want)
	}
}

// A parked connection does not belong to its Conn any more. Accept returns it with the bytes that have woken it, again
// and again.
func TestPark(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		for _, network := range streamNetworks(t, g) {
			ln := listen(t, g, network)
			peer := dial(t, g, ln)
			c := accept(t, ln)
			for _, message := range []string{"castor", "pollux"} {
				park(t, ln, c, 6)
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				_, err := c.Write([]byte("x"))
				checkOpError(t, err, "write", net.ErrClosed)
				_, err = c.ReadOrPark(make([]byte, 1), 1)
				checkOpError(t, err, "read", netconn.ErrParked)
				peer.Write([]byte(message))
				woken := accept(t, ln)
				if !woken.Woken() || woken.Parked() || ln.Parked() != 0 {
					t.Errorf("woken: %v, parked: %v and %d", woken.Woken(), woken.Parked(), ln.Parked())
				}
				if woken.RemoteAddr().String() != c.RemoteAddr().String() || woken.LocalAddr().String() != c.LocalAddr().String() {
					t.Errorf("%v and %v, want %v and %v", woken.LocalAddr(), woken.RemoteAddr(), c.LocalAddr(), c.RemoteAddr())
				}
				expect(t, woken, message)
				woken.Write([]byte(message))
				expect(t, peer, message)
				c = woken
			}
			c.Close()
			checkEOF(t, peer)
			ln.Close()
		}
	})
}

// A connection sleeps until as many bytes have arrived as it waits for, and keeps those before.
func TestWakeBytes(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		peer := dial(t, g, ln)
		c := accept(t, ln)
		for _, wakeBytes := range []int{0, -1, netconn.MaxWakeBytes + 1} {
			_, err := c.ReadOrPark(make([]byte, 1), wakeBytes)
			checkOpError(t, err, "read", loop.ErrBadArgument)
		}
		park(t, ln, c, netconn.MaxWakeBytes)
		text := testkit.Text(netconn.MaxWakeBytes)[:netconn.MaxWakeBytes]
		for i := range text {
			if ln.Parked() != 1 {
				t.Fatalf("woken by %d bytes", i)
			}
			peer.Write(text[i : i+1])
			time.Sleep(time.Second)
		}
		c = accept(t, ln)
		expect(t, c, string(text))
		park(t, ln, c, 2)
		peer.Write([]byte("x")) // and then FIN: nothing can wake it
		peer.CloseWrite()
		checkEOF(t, peer)
		time.Sleep(time.Second)
		if ln.Parked() != 0 {
			t.Error("the connection is still parked after the peer's FIN")
		}
	})
}

// The read deadline stays in force while the connection is parked, and ends when it is woken.
func TestParkedDeadline(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		peer := dial(t, g, ln)
		c := accept(t, ln)
		c.SetReadDeadline(time.Now().Add(time.Minute))
		park(t, ln, c, 1)
		peer.Write([]byte("x"))
		c = accept(t, ln)
		time.Sleep(2 * time.Minute)
		expect(t, c, "x")

		at := time.Now().Add(time.Minute)
		c.SetReadDeadline(at)
		park(t, ln, c, 1)
		checkEOF(t, peer)
		if late := time.Since(at); late < 0 || late > time.Second {
			t.Errorf("closed %v after the deadline", late)
		}
		time.Sleep(time.Second)
		if ln.Parked() != 0 {
			t.Error("the connection is still parked after its deadline")
		}

		// A deadline that comes before the connection is parked is that of Read.
		dial(t, g, ln)
		c = accept(t, ln)
		c.SetReadDeadline(time.Now().Add(netconn.ParkAfter / 2))
		_, err := c.ReadOrPark(make([]byte, 1), 1)
		checkOpError(t, err, "read", os.ErrDeadlineExceeded)
		c.Close()
	})
}

// Whatever ends a parked connection ends it completely: the peer, its reset, the listener's Close, the group's Shutdown.
func TestParkedEnds(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		for _, linger := range []int{-1, 0} {
			peer := dial(t, g, ln)
			park(t, ln, accept(t, ln), 1)
			peer.SetLinger(linger)
			peer.Close()
			if !testkit.Eventually(func() bool { return ln.Parked() == 0 }) {
				t.Errorf("linger %d: the connection is still parked", linger)
			}
		}
		peer := dial(t, g, ln)
		park(t, ln, accept(t, ln), 1)
		ln.Close()
		checkEOF(t, peer)
	})
	onSim(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		dial(t, g, ln)
		park(t, ln, accept(t, ln), 1)
		shutdownNow(g)
		if ln.Parked() != 0 {
			t.Error("the connection is still parked after the end of the group")
		}
	})
}

// A group that begins to shut down closes parked connections: Shutdown does not wait for them.
func TestParkedShutdown(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		peer, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		park(t, ln, accept(t, ln), 1)
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Watchdog)
		defer cancel()
		if err := g.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		checkEOF(t, peer)
	})
}

// ReadOrPark is Read if the connection has state that parking would lose, or no listener.
func TestParkRefused(t *testing.T) {
	cases := map[string]func(c, peer *netconn.Conn, ln *netconn.Listener){
		"write deadline": func(c, _ *netconn.Conn, _ *netconn.Listener) { c.SetWriteDeadline(time.Now().Add(time.Hour)) },
		"SetLinger":      func(c, _ *netconn.Conn, _ *netconn.Listener) { c.SetLinger(0) },
		"CloseWrite":     func(c, _ *netconn.Conn, _ *netconn.Listener) { c.CloseWrite() },
		"closed":         func(_, _ *netconn.Conn, ln *netconn.Listener) { ln.Close() },
		"write in progress": func(c, peer *netconn.Conn, _ *netconn.Listener) {
			go c.Write(make([]byte, neverTaken))
		},
		"read in progress": func(c, _ *netconn.Conn, _ *netconn.Listener) {
			c.SetReadDeadline(time.Now().Add(10 * afterParking))
			go c.Read(make([]byte, 1))
		},
	}
	for name, prepare := range cases {
		t.Run(name, func(t *testing.T) {
			onSim(t, func(t *testing.T, g *loop.Group) {
				ln := listen(t, g, "tcp")
				peer := dial(t, g, ln)
				c := accept(t, ln)
				prepare(c, peer, ln)
				time.Sleep(time.Second)
				r := start(func() (int, error) { return c.ReadOrPark(make([]byte, 1), 1) })
				time.Sleep(afterParking)
				if c.Parked() || ln.Parked() != 0 {
					t.Error("the connection is parked")
				}
				peer.Write([]byte("ab"))
				if x := <-r; x.n != 1 || x.err != nil {
					t.Errorf("%d, %v", x.n, x.err)
				}
				c.SetLinger(0)
				c.Close()
			})
		})
	}
	onSim(t, func(t *testing.T, g *loop.Group) {
		c, peer := pair(t, g, "tcp")
		r := start(func() (int, error) { return c.ReadOrPark(make([]byte, 1), 1) })
		time.Sleep(afterParking)
		peer.Write([]byte("x"))
		if x := <-r; x.n != 1 || x.err != nil || c.Parked() {
			t.Errorf("dialed: %d, %v, parked: %v", x.n, x.err, c.Parked())
		}
	})
}

// Close of a Conn whose ReadOrPark waits closes the connection.
func TestCloseBeforeParking(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		peer := dial(t, g, ln)
		c := accept(t, ln)
		r := start(func() (int, error) { return c.ReadOrPark(make([]byte, 1), 1) })
		time.Sleep(netconn.ParkAfter / 2)
		c.Close()
		if x := <-r; !errors.Is(x.err, net.ErrClosed) || c.Parked() {
			t.Errorf("%v, parked: %v", x.err, c.Parked())
		}
		checkEOF(t, peer)
	})
}

// A connection that is read more often than parkAfter is not parked, and one that is not read at all is not.
func TestBusyIsNotParked(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		peer := dial(t, g, ln)
		c := accept(t, ln)
		for range 50 {
			r := start(func() (int, error) { return c.ReadOrPark(make([]byte, 1), 1) })
			time.Sleep(netconn.ParkAfter * 9 / 10)
			peer.Write([]byte("x"))
			if x := <-r; x.n != 1 || x.err != nil {
				t.Fatalf("%d, %v", x.n, x.err)
			}
		}
		time.Sleep(10 * afterParking)
		if c.Parked() {
			t.Error("the connection is parked, while no ReadOrPark waits")
		}
		if n := netconn.Candidates(ln); n != 0 {
			t.Errorf("%d candidates are left", n)
		}
		c.Close()
	})
}

// Many connections that fall idle together are parked and woken, each with its own bytes.
func TestParkMany(t *testing.T) {
	const conns = 3 * netconn.SweepConns
	onSim(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		peers := make([]*netconn.Conn, conns)
		parked := make(chan error, conns)
		for i := range peers {
			peers[i] = dial(t, g, ln)
			c := accept(t, ln)
			go func() {
				_, err := c.ReadOrPark(make([]byte, 1), 2)
				parked <- err
			}()
		}
		for range conns {
			checkOpError(t, <-parked, "read", netconn.ErrParked)
		}
		if n := ln.Parked(); n != conns {
			t.Errorf("%d are parked, want %d", n, conns)
		}
		for i, peer := range peers {
			peer.Write([]byte{byte(i), byte(i >> 8)})
		}
		woken := make(map[int]bool)
		for range conns {
			c := accept(t, ln)
			b := make([]byte, 2)
			if _, err := io.ReadFull(c, b); err != nil {
				t.Fatal(err)
			}
			woken[int(b[0])|int(b[1])<<8] = true
			c.Close()
		}
		if len(woken) != conns || ln.Parked() != 0 {
			t.Errorf("%d were woken, %d are parked", len(woken), ln.Parked())
		}
	})
}

// Many connections that reach their deadlines together, or one after the other, are closed.
func TestParkedDeadlines(t *testing.T) {
	const conns = 3 * netconn.ExpireConns
	onSim(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		start := time.Now()
		at := start.Add(time.Minute)
		var closed sync.WaitGroup
		for i := range conns {
			peer := dial(t, g, ln)
			c := accept(t, ln)
			d := at
			if i%10 == 0 { // earlier than those before
				d = at.Add(-time.Duration(i) * 10 * time.Millisecond)
			}
			c.SetReadDeadline(d)
			go c.ReadOrPark(make([]byte, 1), 1)
			closed.Go(func() {
				checkEOF(t, peer)
				if late := time.Since(d); late < 0 || late > 20*time.Millisecond {
					t.Errorf("closed %v after the deadline", late)
				}
			})
		}
		time.Sleep(time.Until(start.Add(10 * time.Second)))
		if n := ln.Parked(); n != conns {
			t.Errorf("%d are parked, want %d", n, conns)
		}
		closed.Wait()
		if n := ln.Parked(); n != 0 {
			t.Errorf("%d are parked after their deadlines", n)
		}
	})
}

// A message by ReadOrPark costs no allocation.
func TestParkAllocations(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		peer := dial(t, g, ln)
		c := accept(t, ln)
		defer c.Close()
		b, in := make([]byte, 64), make([]byte, 64)
		echo := func() {
			peer.Write(b)
			n, err := c.ReadOrPark(in, 1)
			if n != len(b) || err != nil {
				t.Fatal(n, err)
			}
		}
		echo()
		if n := testing.AllocsPerRun(200, echo); n > 0 && !testkit.Race {
			t.Errorf("%v allocations, want none", n)
		}
	})
}
