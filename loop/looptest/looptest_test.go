package looptest_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/sock"
)

// bubble runs f in a bubble, and checks that it leaves nothing.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	testkit.CheckLeaks(t)
	synctest.Test(t, f)
}

// Pipe works in a bubble, with the machine's clock, and with a manual one, whatever the network is like.
func TestPipe(t *testing.T) {
	testkit.CheckLeaks(t)
	bad := looptest.Config{
		Link:      looptest.Link{Latency: 5 * time.Millisecond, Jitter: time.Millisecond, RandomSegments: true},
		Faults:    looptest.Faults{PartialReads: 0.5, PartialWrites: 0.5, WouldBlock: 0.5},
		Adversity: looptest.Adverse(),
	}
	exchange := func(t *testing.T, c looptest.Config) {
		opened := false
		n := looptest.New(t, c)
		peer := n.Pipe(loop.Config{}, func(*loop.Conn) loop.Handler {
			return funcs{opened: func(*loop.Conn) { opened = true }, data: echo{}.Data}
		})
		if !opened {
			t.Error("Opened was not called before Pipe has returned")
		}
		want := strings.Repeat("castor and pollux ", 5000)
		var got []byte
		var err error
		read := make(chan bool)
		go func() {
			defer close(read)
			got, err = io.ReadAll(peer)
		}()
		go func() {
			io.WriteString(peer, want)
			peer.CloseWrite()
		}()
		done := func() bool {
			select {
			case <-read:
				return true
			default:
				return false
			}
		}
		// The goroutines above may not have got to Read and Write yet: time must not end before.
		if c.Manual && !testkit.Eventually(func() bool { return n.AdvanceUntil(time.Second, done) }) {
			t.Fatal("the peer has not read everything")
		}
		<-read
		if string(got) != want || err != nil {
			t.Errorf("got %d bytes, %v, want those %d that were sent", len(got), err, len(want))
		}
	}
	for _, c := range []looptest.Config{{}, bad} {
		synctest.Test(t, func(t *testing.T) { exchange(t, c) })
		exchange(t, c)
		c.Manual = true
		exchange(t, c)
	}
}

// Pipe fails the test, and does not hang, if there is no connection.
func TestPipeFails(t *testing.T) {
	testkit.CheckLeaks(t)
	for what, x := range map[string]struct {
		pipe func(t testing.TB, n *looptest.Network)
		want string
	}{
		"refused": {func(_ testing.TB, n *looptest.Network) {
			n.SetRule(func(s *looptest.Segment) looptest.Verdict { return looptest.Refuse })
			n.Pipe(loop.Config{}, echoes)
		}, "refused"},
		"an invalid configuration": {func(_ testing.TB, n *looptest.Network) { n.Pipe(loop.Config{Loops: -1}, echoes) }, "Loops is -1"},
	} {
		failed, log := record(func(t testing.TB) { x.pipe(t, looptest.New(t, looptest.Config{})) })
		if !failed || !strings.Contains(log, x.want) {
			t.Errorf("%s: the test has failed: %v, %s", what, failed, log)
		}
	}
	peer := looptest.Pipe(t, func(*loop.Conn) loop.Handler { panic("no handler") })
	if _, err := io.ReadAll(peer); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
}

// A Conn is a net.Conn as those of package net are.
func TestConn(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			testkit.CheckLeaks(t)
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				h := looptest.New(t, looptest.Config{}).Host()
				ln, err := h.Listen(network, map[string]string{"tcp": "127.0.0.1:0", "unix": "/socket"}[network])
				if err != nil {
					return nil, nil, nil, err
				}
				defer ln.Close()
				if c1, err = h.DialContext(context.Background(), network, ln.Addr().String()); err == nil {
					c2, err = ln.Accept()
				}
				return c1, c2, func() { c1.Close(); c2.Close() }, err
			})
		})
	}
}

// TLS, bufio and a server of package net/http sit on the ends.
func TestOtherPackagesSitOnTop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := looptest.New(t, looptest.Config{Link: looptest.Link{Latency: time.Millisecond, SegmentBytes: 500}})
		server, client := n.Host(), n.Host()
		ln, err := server.Listen("tcp", ":443")
		noError(t, err)
		defer ln.Close()
		certificate := testCertificate(t)
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate}})
			io.Copy(s, s)
			s.Close()
		}()
		c, err := client.Dial("tcp", "10.0.0.1:443")
		noError(t, err)
		s := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		defer s.Close()
		fmt.Fprintln(s, "castor")
		if line, err := bufio.NewReader(s).ReadString('\n'); line != "castor\n" || err != nil {
			t.Errorf("got %q, %v", line, err)
		}
	})
}

// testCertificate returns a certificate of package httptest.
func testCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.Listener.Close()
	s.Listener = closedListener{}
	s.StartTLS()
	defer s.Close()
	return s.TLS.Certificates[0]
}

type closedListener struct{}

func (closedListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (closedListener) Close() error              { return nil }
func (closedListener) Addr() net.Addr            { return &net.TCPAddr{} }

// Addresses that are invalid, or are not the host's, are errors as in package net.
func TestBadAddresses(t *testing.T) {
	h := looptest.New(t, looptest.Config{}).Host()
	for _, x := range []struct{ network, address string }{
		{"carrier", "10.0.0.1:1"}, {"tcp", "10.0.0.1"}, {"tcp", "example.org:80"}, {"tcp", "10.0.0.1:65536"}, {"tcp6", "10.0.0.1:80"},
		{"tcp4", "[::1]:80"}, {"unix", ""}, {"", ":80"},
	} {
		_, listen := h.Listen(x.network, x.address)
		_, dial := h.Dial(x.network, x.address)
		c, dialContext := h.DialContext(t.Context(), x.network, x.address)
		_, packet := h.ListenPacket(x.network, x.address)
		for what, err := range map[string]error{"Listen": listen, "Dial": dial, "DialContext": dialContext, "ListenPacket": packet} {
			var op *net.OpError
			if !errors.As(err, &op) {
				t.Errorf("%s of %s %q: got %v, want a *net.OpError", what, x.network, x.address, err)
			}
		}
		if c != nil {
			t.Errorf("DialContext of %s %q returned the connection %v", x.network, x.address, c)
		}
	}
	if _, err := h.Listen("tcp", "10.9.9.9:80"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("Listen at the address of another host: got %v, want EADDRNOTAVAIL", err)
	}
	if _, err := h.ListenPacket("tcp", ":80"); err == nil {
		t.Error("ListenPacket takes the network tcp")
	}
	if _, err := h.Listen("udp", ":80"); err == nil {
		t.Error("Listen takes the network udp")
	}
	if open := h.Descriptors(); open != 0 {
		t.Errorf("%d descriptors are open after errors", open)
	}
}

// Attach takes a Conn, and Detach returns a net.Conn on the same network.
func TestAttachAndDetach(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := looptest.New(t, looptest.Config{})
		h := n.Host()
		g := h.NewGroup(loop.Config{})
		ln, err := h.Listen("tcp", ":80")
		noError(t, err)
		defer ln.Close()
		c, err := h.Dial("tcp", "10.0.0.1:80")
		noError(t, err)
		peer, err := ln.AcceptConn()
		noError(t, err)
		defer peer.Close()

		detached := make(chan net.Conn, 1)
		noError(t, g.Attach(c, []byte("before "), func(*loop.Conn) loop.Handler {
			return funcs{data: func(c *loop.Conn, b []byte) (int, error) {
				if string(b) == "before " {
					return 0, nil
				}
				return len("before "), c.Detach(func(conn net.Conn, unread []byte, err error) {
					noError(t, err)
					conn.Write(unread)
					detached <- conn
				})
			}}
		}))
		io.WriteString(peer, "after")
		back := <-detached
		b := make([]byte, 5)
		if _, err := io.ReadFull(peer, b); string(b) != "after" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
		back.Close()
		if _, err := peer.Read(b); err != io.EOF {
			t.Errorf("got %v, want EOF", err)
		}
	})
}

// Rules see each segment, and decide what becomes of it.
func TestRules(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := looptest.New(t, looptest.Config{Link: looptest.Link{SegmentBytes: 10}})
		server, client := n.Host(), n.Host()
		g := server.NewGroup(loop.Config{})
		_, err := g.Listen("tcp", ":80", echoes)
		noError(t, err)
		dial := func() (*looptest.Conn, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			c, err := client.DialContext(ctx, "tcp", "10.0.0.1:80")
			if err != nil {
				return nil, err
			}
			return c.(*looptest.Conn), nil
		}

		data := map[int64]string{}
		n.SetRule(func(s *looptest.Segment) looptest.Verdict {
			if s.Kind == looptest.Data && s.FromHost == client && s.ToHost == server && s.To == netip.MustParseAddrPort("10.0.0.1:80") {
				data[s.Offset] = string(s.Data)
			}
			return looptest.Pass
		})
		c, err := dial()
		noError(t, err)
		io.WriteString(c, "castor and pollux")
		b := make([]byte, 17)
		io.ReadFull(c, b)
		if len(data) != 2 || data[0] != "castor and" || data[10] != " pollux" {
			t.Errorf("the rule got %v", data)
		}

		n.SetRule(func(s *looptest.Segment) looptest.Verdict {
			if s.Kind == looptest.Data && s.FromHost == client {
				return looptest.ResetAfter(3)
			}
			return looptest.Pass
		})
		io.WriteString(c, "twins")
		if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after a reset: got %v, want ECONNRESET", err)
		}
		c.Close()

		of := func(v looptest.Verdict) func(*looptest.Segment) looptest.Verdict {
			return func(s *looptest.Segment) looptest.Verdict {
				if s.Kind == looptest.SYN {
					return v
				}
				return looptest.Pass
			}
		}
		n.SetRule(of(looptest.Refuse))
		if _, err := dial(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a refused connection: got %v, want ECONNREFUSED", err)
		}
		n.SetRule(of(looptest.Drop))
		if _, err := dial(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a black hole: got %v, want DeadlineExceeded", err)
		}
		n.SetRule(of(looptest.Delay(500 * time.Millisecond)))
		begun := time.Now()
		c, err = dial()
		noError(t, err)
		if took := time.Since(begun); took < 500*time.Millisecond {
			t.Errorf("a delayed connection took %v, want at least 500 ms", took)
		}
		c.Close()
		n.SetRule(nil)
		c, err = dial()
		noError(t, err)
		c.Close()
	})
}

// A host refuses connections, or leaves them unanswered, by its policy.
func TestConnectPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := looptest.New(t, looptest.Config{})
		server, client := n.Host(), n.Host()
		_, err := server.NewGroup(loop.Config{}).Listen("tcp", ":80", echoes)
		noError(t, err)
		g := client.NewGroup(loop.Config{})
		for _, x := range []struct {
			policy looptest.ConnectPolicy
			want   error
		}{
			{looptest.AcceptConnects, nil}, {looptest.RefuseConnects, syscall.ECONNREFUSED}, {looptest.DropConnects, syscall.ETIMEDOUT},
		} {
			server.SetConnectPolicy(x.policy)
			if _, err := g.Dial(t.Context(), "tcp", "10.0.0.1:80", echoes); !errors.Is(err, x.want) {
				t.Errorf("policy %d: Dial: got %v, want %v", x.policy, err, x.want)
			}
		}
	})
}

// L7: a listener that is out of descriptors pauses, and continues when there are some.
func TestOutOfDescriptors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := looptest.New(t, looptest.Config{})
		server, client := n.Host(), n.Host()
		_, err := server.NewGroup(loop.Config{}).Listen("tcp", ":80", echoes)
		noError(t, err)
		server.SetMaxDescriptors(server.Descriptors())
		c, err := client.Dial("tcp", "10.0.0.1:80")
		noError(t, err)
		defer c.Close()
		io.WriteString(c, "x")
		c.SetReadDeadline(time.Now().Add(time.Minute))
		b := make([]byte, 1)
		if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("without descriptors: got %v, want a timeout", err)
		}
		server.SetMaxDescriptors(server.Descriptors() + 1)
		c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := c.Read(b); err != nil {
			t.Errorf("with a descriptor: %v", err)
		}
	})
}

// After a crash, peers have half-open connections: keep-alive ends them, or a reset if the host restarts.
func TestCrash(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := looptest.New(t, looptest.Config{})
		for _, restart := range []bool{false, true} {
			server, client := n.Host(), n.Host()
			closed := make(chan error, 1)
			_, err := server.NewGroup(loop.Config{}).Listen("tcp", ":80", func(*loop.Conn) loop.Handler {
				return funcs{closed: func(_ *loop.Conn, why error) { closed <- why }}
			})
			noError(t, err)
			c, err := client.Dial("tcp", net.JoinHostPort(server.String(), "80"))
			noError(t, err)
			client.Crash()
			if restart {
				client.Restart()
			}
			want := syscall.ETIMEDOUT
			if restart {
				want = syscall.ECONNRESET
			}
			crashed := time.Now()
			if why := <-closed; !errors.Is(why, want) {
				t.Errorf("restart %v: Closed got %v after %v, want %v", restart, why, time.Since(crashed), want)
			}
			if after := time.Since(crashed); after < 15*time.Second || after > 5*time.Minute {
				t.Errorf("restart %v: Closed was called after %v", restart, after)
			}
			c.Close()
		}
	})
}

// A partition of one direction: what is sent arrives, and its acknowledgement does not.
func TestPartitionOneWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := looptest.New(t, looptest.Config{})
		server, client := n.Host(), n.Host()
		got := make(chan string, 10)
		_, err := server.NewGroup(loop.Config{}).Listen("tcp", ":80", func(*loop.Conn) loop.Handler {
			return funcs{data: func(c *loop.Conn, b []byte) (int, error) {
				got <- string(b)
				return c.Write(b)
			}}
		})
		noError(t, err)
		c, err := client.Dial("tcp", "10.0.0.1:80")
		noError(t, err)
		defer c.Close()
		n.PartitionOneWay(server, client)
		io.WriteString(c, "hello")
		if s := <-got; s != "hello" {
			t.Errorf("the server got %q", s)
		}
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 5)
		if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("during the partition: got %q, %v, want a timeout", b, err)
		}
		n.Heal(server, client)
		c.SetReadDeadline(time.Time{})
		if _, err := io.ReadFull(c, b); string(b) != "hello" || err != nil {
			t.Errorf("after the partition: got %q, %v", b, err)
		}
		if len(got) > 0 {
			t.Errorf("the server got %q, too", <-got)
		}
	})
}

// UDP sockets of loops, of package sock and of the test exchange datagrams, by address, broadcast and
// multicast.
func TestPacketConn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := looptest.New(t, looptest.Config{})
		server, client := n.Host(), n.Host()
		_, err := server.NewGroup(loop.Config{}).ListenPacket("udp", ":53", func(p *loop.PacketConn) loop.PacketHandler {
			noError(t, p.JoinGroup(netip.MustParseAddr("224.0.0.251"), 0))
			return packetEcho{}
		})
		noError(t, err)
		p, err := client.ListenPacket("udp", ":0")
		noError(t, err)
		defer p.Close()
		noError(t, p.SetBroadcast(true))
		for _, to := range []string{"10.0.0.1:53", "224.0.0.251:53", "255.255.255.255:53"} {
			if _, err := p.WriteTo([]byte(to), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))); err != nil {
				t.Errorf("%s: %v", to, err)
				continue
			}
			p.SetReadDeadline(time.Now().Add(time.Second))
			b := make([]byte, 100)
			k, from, err := p.ReadFrom(b)
			if err != nil || string(b[:k]) != to || from.String() != "10.0.0.1:53" {
				t.Errorf("%s: got %q from %v, %v", to, b[:k], from, err)
			}
		}
	})
}

type packetEcho struct{}

func (packetEcho) Packets(p *loop.PacketConn, ms []sock.Message) {
	for _, m := range ms {
		p.WriteTo(m.Data[:m.N], m.Addr)
	}
}

// Unread is how much Read returns without waiting.
func TestUnread(t *testing.T) {
	n := looptest.New(t, looptest.Config{Manual: true, Link: looptest.Link{Latency: time.Second}})
	peer := n.Pipe(loop.Config{}, func(*loop.Conn) loop.Handler {
		return funcs{opened: func(c *loop.Conn) { c.Write(make([]byte, 100)) }}
	})
	for _, x := range []struct {
		d    time.Duration
		want int
	}{{0, 100}, {time.Hour, 100}} {
		n.Advance(x.d)
		if got := peer.Unread(); got != x.want {
			t.Errorf("after %v: %d bytes are unread, want %d", x.d, got, x.want)
		}
	}
	peer.Read(make([]byte, 30))
	if got := peer.Unread(); got != 70 {
		t.Errorf("%d bytes are unread, want 70", got)
	}
	peer.Close()
	if got := peer.Unread(); got != 0 {
		t.Errorf("%d bytes of a closed connection are unread", got)
	}
}
