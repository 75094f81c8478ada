package netconn_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/internal/tlsengine"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/netconn"
)

// testTLSConn is testConn with TLS on both ends.
func testTLSConn(t *testing.T, g *loop.Group, server, client *tls.Config) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		c1, c2 := pairTLS(t, g, "tcp", server, client)
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

// A TLSConn behaves as net.Conn demands, on every backend.
func TestTLSConn(t *testing.T) {
	versions(t, func(t *testing.T, server, client *tls.Config) {
		onBackends(t, func(t *testing.T, g *loop.Group) { testTLSConn(t, g, server, client) })
	})
}

// A TLSConn behaves as net.Conn demands on simulated networks, whose clock is the real one here.
func TestTLSConnSimulated(t *testing.T) {
	versions(t, func(t *testing.T, server, client *tls.Config) {
		for name, c := range map[string]looptest.Config{
			"plain":   {},
			"adverse": {Adversity: looptest.Adverse(), Faults: looptest.Faults{PartialReads: 0.3, PartialWrites: 0.3, WouldBlock: 0.2}},
		} {
			t.Run(name, func(t *testing.T) {
				testkit.CheckLeaks(t)
				host := looptest.New(t, c).Host(netip.MustParseAddr("10.0.0.1"))
				testTLSConn(t, host.NewGroup(loop.Config{Loops: 2}), server, client)
			})
		}
	})
}

// io.Copy passes on all bytes, in both directions, and the end of the stream: over Unix sockets as well.
func TestTLSCopy(t *testing.T) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	everywhere(t, func(t *testing.T, g *loop.Group) {
		for _, network := range streamNetworks(t, g) {
			c, peer := pairTLS(t, g, network, server, client)
			checkCopy(t, c, peer, 1<<20+7)
		}
	})
}

// Both ends report what the handshake has negotiated, with the certificate of a client, also after Close.
func TestConnectionState(t *testing.T) {
	versions(t, func(t *testing.T, server, client *tls.Config) {
		ids := tlstest.Identities()
		server.NextProtos, client.NextProtos = []string{"castor"}, []string{"pollux", "castor"}
		server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, ids[1].Pool
		client.Certificates = []tls.Certificate{ids[1].Certificate}
		everywhere(t, func(t *testing.T, g *loop.Group) {
			c, peer := pairTLS(t, g, "tcp", server, client)
			check := func() {
				t.Helper()
				for i, x := range []*netconn.TLSConn{c, peer} {
					state := x.ConnectionState()
					if !state.HandshakeComplete || state.Version != server.MaxVersion || state.NegotiatedProtocol != "castor" {
						t.Errorf("end %d: %+v", i, state)
					}
					if len(state.PeerCertificates) != 1 || !state.PeerCertificates[0].Equal(ids[i].Certificate.Leaf) {
						t.Errorf("end %d: the certificate of the peer is another one", i)
					}
				}
			}
			check()
			c.Close()
			peer.Close()
			check()
		})
	})
}

// A TLSConn does not have the methods by which ciphertext could be read: package syscall's interface is not found, and Read of
// the RawConn below, and of Conn, do not call their function.
func TestTLSConnHidesTheDescriptor(t *testing.T) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	onBackends(t, func(t *testing.T, g *loop.Group) {
		c, _ := pairTLS(t, g, "tcp", server, client)
		if _, ok := net.Conn(c).(syscall.Conn); ok {
			t.Error("a TLSConn is a syscall.Conn: clients would look at the ciphertext")
		}
		raw := must(c.Conn.SyscallConn())
		called := false
		checkOpError(t, raw.Read(func(uintptr) bool { called = true; return true }), "raw-read", errors.ErrUnsupported)
		checkOpError(t, raw.Write(func(uintptr) bool { called = true; return true }), "write", errors.ErrUnsupported)
		if called {
			t.Error("the function was called: it could take ciphertext from the loop")
		}
		if err := raw.Control(func(uintptr) { called = true }); err != nil || !called {
			t.Errorf("Control: %v (called: %t)", err, called)
		}
		for _, err := range []error{c.SetNoDelay(false), c.SetKeepAlive(true), c.SetReadBuffer(1 << 16), c.SetWriteBuffer(1 << 16)} {
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// Read and Write allocate nothing with TLS, either.
func TestTLSAllocations(t *testing.T) {
	switch {
	case testkit.Race:
		t.Skip("the race detector allocates")
	case os.Getenv(tlsengine.ModeEnv) != "":
		t.Skip(tlsengine.ModeEnv + " forces the fall-back, which allocates")
	}
	server, client := tlstest.Configs(tls.VersionTLS13)
	onBackends(t, func(t *testing.T, g *loop.Group) {
		c, peer := pairTLS(t, g, "tcp", server, client)
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
