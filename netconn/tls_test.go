package netconn_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/tlsconn"
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
			all := make([]byte, 1<<20+7)
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

// A handshake that fails is the error of DialContext, and is reported on the listener's side: it does not reach Accept.
func TestHandshakeFails(t *testing.T) {
	versions(t, func(t *testing.T, server, client *tls.Config) {
		everywhere(t, func(t *testing.T, g *loop.Group) {
			failed := make(chan error, 1)
			ln := listenTLS(t, g, "tcp", server, tlsconn.Options{HandshakeFailed: func(_ *loop.Conn, err error) { failed <- err }})
			dial := func(config *tls.Config) (net.Conn, error) {
				return (&netconn.Dialer{Group: g, TLSConfig: config}).Dial("tcp", ln.Addr().String())
			}
			stranger := client.Clone()
			stranger.RootCAs = x509.NewCertPool()
			_, err := dial(stranger)
			var unknown *tls.CertificateVerificationError
			if checkOpError(t, err, "dial", err); !errors.As(err, &unknown) {
				t.Errorf("%v, want a *tls.CertificateVerificationError", err)
			}
			if err := <-failed; err == nil || errors.Is(err, io.EOF) {
				t.Errorf("the listener's handshake: %v, want the client's alert", err)
			}
			good := start(func() (int, error) {
				c, err := dial(client)
				if err == nil {
					c.Close()
				}
				return 0, err
			})
			c, err := ln.Accept()
			if err != nil || !c.(*netconn.TLSConn).ConnectionState().HandshakeComplete {
				t.Fatalf("%v, %v", c, err)
			}
			if r := <-good; r.err != nil {
				t.Error(r.err)
			}
			c.Close()
			ln.SetDeadline(past)
			_, err = ln.Accept()
			checkOpError(t, err, "accept", os.ErrDeadlineExceeded)
		})
	})
}

// A client that sends nothing is not accepted, does not keep others from being accepted, and is closed after the time limit of
// handshakes. A dial ends with its context, also during the handshake.
func TestSilentPeers(t *testing.T) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	onSim(t, func(t *testing.T, g *loop.Group) {
		failed := make(chan error, 1)
		began := time.Now()
		ln := listenTLS(t, g, "tcp", server, tlsconn.Options{HandshakeTimeout: 7 * time.Second, HandshakeFailed: func(_ *loop.Conn, err error) { failed <- err }})
		silent := must(netconn.Dial(g, "tcp", ln.Addr().String()))
		defer silent.Close()
		c := must((&netconn.Dialer{Group: g, TLSConfig: client}).Dial("tcp", ln.Addr().String()))
		defer c.Close()
		must(ln.Accept()).Close()
		if err := <-failed; !errors.Is(err, tlsconn.ErrHandshakeTimeout) || time.Since(began).Round(time.Second) != 7*time.Second {
			t.Errorf("%v after %v, want ErrHandshakeTimeout after 7 s", err, time.Since(began))
		}

		mute := listen(t, g, "tcp")
		began = time.Now()
		_, err := (&netconn.Dialer{Group: g, TLSConfig: client, Timeout: 3 * time.Second}).Dial("tcp", mute.Addr().String())
		checkOpError(t, err, "dial", context.DeadlineExceeded)
		if d := time.Since(began).Round(time.Second); d != 3*time.Second {
			t.Errorf("the dial ended after %v, want 3 s", d)
		}
	})
}

// Misuse is an error at once: no group, or no certificate. The socket of Serve is closed.
func TestListenConfigMisuse(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		for _, lc := range []netconn.ListenConfig{{}, {Group: g, TLSConfig: &tls.Config{}}} {
			_, err := lc.Listen("tcp", "127.0.0.1:0")
			checkOpError(t, err, "listen", loop.ErrBadArgument)
		}
	})
}
