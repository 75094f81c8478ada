package netconn_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/sock"
	"github.com/pollux-io/pollux/tlsconn"
)

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

// Misuse is an error at once: no group, or no certificate. The socket of Serve is closed then.
func TestListenConfigMisuse(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		for _, lc := range []netconn.ListenConfig{{}, {Group: g, TLSConfig: &tls.Config{}}} {
			_, err := lc.Listen("tcp", "127.0.0.1:0")
			checkOpError(t, err, "listen", loop.ErrBadArgument)
			s := must(sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0")))
			_, err = lc.Serve(s)
			checkOpError(t, err, "listen", loop.ErrBadArgument)
			if err := s.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the socket is open: Close returned %v", err)
			}
			_, err = lc.ServeUnix(nil)
			checkOpError(t, err, "listen", loop.ErrBadArgument)
		}
	})
}

// Serve with TLS accepts TLSConns on a socket that was made elsewhere, TCP or Unix.
func TestServeTLS(t *testing.T) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	onBackends(t, func(t *testing.T, g *loop.Group) {
		lc := netconn.ListenConfig{Group: g, TLSConfig: server}
		listeners := []net.Listener{must(lc.Serve(must(sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0")))))}
		if hasUnix(g) {
			listeners = append(listeners, must(lc.ServeUnix(must(sock.ListenUnix(filepath.Join(testkit.TempDir(t), "s"))))))
		}
		for _, ln := range listeners {
			c, err := (&netconn.Dialer{Group: g, TLSConfig: client}).Dial(ln.Addr().Network(), ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			accepted := must(ln.Accept()).(*netconn.TLSConn)
			must(io.WriteString(c, "castor"))
			expect(t, accepted, "castor")
			c.Close()
			accepted.Close()
			ln.Close()
		}
	})
}

// A connection whose handshake is in progress when the listener is closed is reset at its end: no Accept will return it.
func TestCloseDuringHandshake(t *testing.T) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	onSim(t, func(t *testing.T, g *loop.Group) {
		ln := listenTLS(t, g, "tcp", server, tlsconn.Options{})
		below := must(netconn.Dial(g, "tcp", ln.Addr().String()))
		defer below.Close()
		time.Sleep(time.Second) // until it is accepted
		ln.Close()
		c := tls.Client(below, client)
		if err := c.Handshake(); err != nil && !isReset(err) {
			t.Error(err)
		}
		if _, err := c.Read(make([]byte, 1)); !isReset(err) {
			t.Errorf("%v, want a reset", err)
		}
	})
}

// An address that is a name is dialed with that as the ServerName, and a *tls.Config of the caller is not changed.
func TestDialSetsServerName(t *testing.T) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	client.ServerName = ""
	names := make(chan string, 2)
	server.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) { names <- h.ServerName; return nil, nil }
	onBackends(t, func(t *testing.T, g *loop.Group) {
		ln := listenTLS(t, g, "tcp", server, tlsconn.Options{})
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		_, err := (&netconn.Dialer{Group: g, TLSConfig: client}).Dial("tcp4", net.JoinHostPort("localhost", port))
		var wrong x509.HostnameError
		if !errors.As(err, &wrong) || wrong.Host != "localhost" {
			t.Errorf("%v, want an error for the name localhost", err)
		}
		if name := <-names; name != "localhost" || client.ServerName != "" {
			t.Errorf("ServerName is %q, and that of the config %q", name, client.ServerName)
		}
	})
}
