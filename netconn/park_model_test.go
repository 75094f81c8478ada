package netconn_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/tlsconn"
)

// parkingEcho serves ln until it is closed: an echo with a ReadOrPark for each message.
func parkingEcho(ln net.Listener, wg *sync.WaitGroup) (parks *int) {
	var mu sync.Mutex
	parks = new(int)
	serve := func(c *netconn.Conn) {
		defer c.Close()
		b := make([]byte, 1+len(c.RemoteAddr().String())%7) // sometimes shorter than a message
		for {
			n, err := c.ReadOrPark(b, 1)
			if c.Parked() {
				mu.Lock()
				*parks++
				mu.Unlock()
			}
			if err != nil {
				return
			}
			c.Write(b[:n])
		}
	}
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(plain(c)) })
		}
	})
	return parks
}

// Whatever arrives while a connection is being parked, is parked or is being woken is read, once and in order: pauses between
// writes end within nanoseconds of the sweeps that park.
func TestParkModel(t *testing.T) { testParkModel(t, 60, listenDial{listen, dial}) }

// The same with TLS on both ends.
func TestParkModelTLS(t *testing.T) { testParkModel(t, 20, overTLS()) }

func testParkModel(t *testing.T, runs int, how listenDial) {
	if testkit.Long() {
		runs *= 50
	}
	total := 0
	for seed := range runs {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := looptest.Adversity{}
				if seed%2 == 1 {
					a = looptest.Adverse()
				}
				network := looptest.New(t, looptest.Config{Seed: uint64(seed), Adversity: a})
				g := network.Host(netip.MustParseAddr("10.0.0.1")).NewGroup(loop.Config{Loops: 2})
				total += runParkModel(t, g, rand.New(rand.NewPCG(uint64(seed), 16)), 200, how)
			})
		})
	}
	if total < runs {
		t.Errorf("%d connections were parked in %d runs: the test checks nothing", total, runs)
	}
}

// The same on real sockets, where the race detector sees it.
func TestParkModelOnBackends(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		for _, how := range []listenDial{{listen, dial}, overTLS()} {
			parks := 0
			for range 20 {
				if parks = runParkModel(t, g, rand.New(rand.NewPCG(rand.Uint64(), 16)), 60, how); parks > 0 {
					break
				}
			}
			if parks == 0 {
				t.Error("no connection was parked: the test checks nothing")
			}
		}
	})
}

// listenDial is how connections are made: listen and dial, or with TLS.
type listenDial struct {
	listen func(t testing.TB, g *loop.Group, network string) *netconn.Listener
	dial   func(t testing.TB, g *loop.Group, ln *netconn.Listener) *netconn.Conn
}

func overTLS() listenDial {
	server, client := tlstest.Configs(tls.VersionTLS13)
	return listenDial{
		func(t testing.TB, g *loop.Group, network string) *netconn.Listener {
			t.Helper()
			return listenTLS(t, g, network, server, tlsconn.Options{})
		},
		func(t testing.TB, g *loop.Group, ln *netconn.Listener) *netconn.Conn {
			t.Helper()
			c, err := (&netconn.Dialer{Group: g, TLSConfig: client}).Dial(ln.Addr().Network(), ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return plain(c)
		},
	}
}

// plain returns the Conn of what this package returns.
func plain(c net.Conn) *netconn.Conn {
	if c, ok := c.(*netconn.TLSConn); ok {
		return c.Conn
	}
	return c.(*netconn.Conn)
}

// runParkModel runs clients that send up to maxBytes with random pauses, and returns how often the server has parked a
// connection.
func runParkModel(t *testing.T, g *loop.Group, r *rand.Rand, maxBytes int, how listenDial) int {
	ln := how.listen(t, g, "tcp")
	var server, clients sync.WaitGroup
	parks := parkingEcho(ln, &server)
	for range 1 + r.IntN(4) {
		c := how.dial(t, g, ln)
		r := rand.New(rand.NewPCG(r.Uint64(), 0))
		clients.Go(func() {
			text := testkit.Text(1000)[:1+r.IntN(maxBytes)]
			clients.Go(func() {
				for rest := text; len(rest) > 0; {
					n := min(1+r.IntN(20), len(rest))
					c.Write(rest[:n])
					rest = rest[n:]
					time.Sleep(netconn.ParkAfter*time.Duration(r.IntN(4)) + time.Duration(r.IntN(12)-6)*time.Nanosecond)
				}
				c.CloseWrite()
			})
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%q, %v, want %q", got, err, text)
			}
		})
	}
	clients.Wait()
	ln.Close()
	server.Wait()
	return *parks
}
