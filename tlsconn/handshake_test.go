package tlsconn_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/tlsconn"
)

// both connects a client and a server that are both on loops, and returns their handlers, connections, and the result
// of the dial.
func both(t *testing.T, server, client *tls.Config) (s, c *recorder, dial func() (*loop.Conn, error)) {
	t.Helper()
	n := looptest.New(t, looptest.Config{})
	host, other := n.Host(), n.Host()
	s, c = newRecorder(), newRecorder()
	ln := must(host.NewGroup(loop.Config{Loops: 1}).Listen("tcp", host.Addr().String()+":443", func(*loop.Conn) loop.Handler { return tlsconn.Server(server, s) }))
	g := other.NewGroup(loop.Config{Loops: 1})
	return s, c, func() (*loop.Conn, error) {
		return tlsconn.Dial(t.Context(), g, "tcp", ln.Addr().String(), client, func(*loop.Conn) loop.Handler { return c })
	}
}

// What the configurations negotiate is seen by both sides: the name, the protocol, the client's certificate, the version.
func TestConnectionState(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		synctest.Test(t, func(t *testing.T) {
			server, client := tlstest.Configs(version)
			ids := tlstest.Identities()
			server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, ids[1].Pool
			client.Certificates = []tls.Certificate{ids[1].Certificate}
			server.NextProtos, client.NextProtos = []string{"b", "c"}, []string{"a", "b"}
			s, c, dial := both(t, server, client)
			conn, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			accepted := <-s.opened
			<-c.opened
			for _, conn := range []*loop.Conn{conn, accepted} {
				state, ok := tlsconn.ConnectionState(conn)
				if !ok || state.Version != version || state.NegotiatedProtocol != "b" || state.ServerName != "server.example" || len(state.PeerCertificates) != 1 {
					t.Errorf("ConnectionState: %+v, %v", state, ok)
				}
			}
			if state, _ := tlsconn.ConnectionState(accepted); state.PeerCertificates[0].Subject.CommonName != "identity 1" {
				t.Error("the client's certificate is that of", state.PeerCertificates[0].Subject)
			}
			conn.Close()
			<-s.closed
			<-c.closed
			if _, ok := tlsconn.ConnectionState(conn); !ok {
				t.Error("ConnectionState is gone after the end of the connection")
			}
		})
	}
}

// A client that shows no certificate, or a wrong one, is refused by an alert that it sees.
func TestClientCertificateIsRequired(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		synctest.Test(t, func(t *testing.T) {
			server, client := tlstest.Configs(version)
			ids := tlstest.Identities()
			server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, ids[1].Pool
			s, c, dial := both(t, server, client)
			_, err := dial()
			if version == tls.VersionTLS13 && err == nil { // the client's handshake is done before the server has its certificate
				err = <-c.closed
			}
			if !isAlert(err) {
				t.Errorf("the client got %v, want an alert", err)
			}
			settle()
			if got := s.callbacks(); got != "" {
				t.Errorf("callbacks %s of a server's handler whose client is refused", got)
			}
		})
	}
}

// isAlert reports whether err is an alert of the peer.
func isAlert(err error) bool {
	for {
		op, ok := errors.AsType[*net.OpError](err)
		if !ok || op.Op == "remote error" {
			return ok
		}
		err = op.Err
	}
}

// Sessions are resumed, as all connections have the same configuration.
func TestResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		synctest.Test(t, func(t *testing.T) {
			server, client := tlstest.Configs(version)
			client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			n := looptest.New(t, looptest.Config{})
			host, other := n.Host(), n.Host()
			ln := must(host.NewGroup(loop.Config{Loops: 1}).Listen("tcp", host.Addr().String()+":443", func(*loop.Conn) loop.Handler { return tlsconn.Server(server, dataOnly{}) }))
			g := other.NewGroup(loop.Config{Loops: 1})
			for i := range 3 {
				conn, err := tlsconn.Dial(t.Context(), g, "tcp", ln.Addr().String(), client, func(*loop.Conn) loop.Handler { return dataOnly{} })
				if err != nil {
					t.Fatal(err)
				}
				settle() // tickets of TLS 1.3 come after the handshake
				if state, _ := tlsconn.ConnectionState(conn); state.DidResume != (i > 0) {
					t.Errorf("%s, connection %d: DidResume %v", tls.VersionName(version), i, state.DidResume)
				}
				conn.Close()
			}
		})
	}
}

// A configuration that cannot work is an error at once, which says what to do.
func TestConfigErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := tlstest.Configs(tls.VersionTLS13)
		n := looptest.New(t, looptest.Config{})
		host, other := n.Host(), n.Host()
		ln := must(host.NewGroup(loop.Config{Loops: 1}).Listen("tcp", host.Addr().String()+":443", func(*loop.Conn) loop.Handler { return tlsconn.Server(server, dataOnly{}) }))
		g := other.NewGroup(loop.Config{Loops: 1})
		renegotiating := client.Clone()
		renegotiating.Renegotiation = tls.RenegotiateOnceAsClient
		for _, test := range []struct {
			h    loop.Handler
			want string
		}{
			{tlsconn.Client(&tls.Config{RootCAs: client.RootCAs}, dataOnly{}), "ServerName"},
			{tlsconn.Client(nil, dataOnly{}), "nil"},
			{tlsconn.Client(client, nil), "nil"},
			{tlsconn.Client(renegotiating, dataOnly{}), "Renegotiat"},
			{tlsconn.Client(client, tlsconn.Client(client, dataOnly{})), "second"},
		} {
			_, err := g.Dial(t.Context(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return test.h })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Dial returned %v, want an error about %q", err, test.want)
			}
		}
		// The host of the address is what is verified, unless the configuration has a name.
		_, err := tlsconn.Dial(t.Context(), g, "tcp", ln.Addr().String(), &tls.Config{RootCAs: client.RootCAs}, func(*loop.Conn) loop.Handler { return dataOnly{} })
		if verification, ok := errors.AsType[x509.HostnameError](err); !ok || verification.Host != host.Addr().String() {
			t.Errorf("Dial returned %v, want that the certificate is not that of %v", err, host.Addr())
		}
		if _, err := tlsconn.Dial(t.Context(), nil, "tcp", ln.Addr().String(), client, nil); !errors.Is(err, loop.ErrBadArgument) {
			t.Errorf("Dial without a Dialer returned %v", err)
		}
	})
}

// A handshake ends at its deadline, wherever it is: without a byte, within the ClientHello, after it.
func TestHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, cut := range []int{0, 3, 100, 2000} {
			for _, client := range []bool{false, true} {
				s := side{version: tls.VersionTLS13, client: client}
				var failed error
				s.options = tlsconn.Options{HandshakeTimeout: 5 * time.Second, HandshakeFailed: func(_ *loop.Conn, err error) { failed = err }}
				begun := time.Now()
				raw, g, dialed := s.connect(t, dataOnly{})
				if cut > 0 {
					go s.other(&cutConn{Conn: raw, left: min(cut, 280), stop: true}).Handshake()
				}
				settle()
				io.ReadAll(raw)
				if took := time.Since(begun); took < 5*time.Second || took > 6*time.Second || !errors.Is(failed, tlsconn.ErrHandshakeTimeout) {
					t.Errorf("cut after %d bytes, client %v: ended after %v by %v, want 5 s", cut, client, took, failed)
				}
				if stats := tlsconn.StatsOf(g); stats.TimedOut != 1 || stats.Failed != 1 || stats.InProgress != 0 {
					t.Errorf("Stats: %+v", stats)
				}
				if client {
					if err := <-dialed; !errors.Is(err, tlsconn.ErrHandshakeTimeout) {
						t.Errorf("Dial returned %v", err)
					}
				}
			}
		}
	})
}

// Clients that are silent from the beginning, within the ClientHello, or after it, however many they are, do not keep a
// healthy one from its handshake: it takes less than a second.
func TestSilentClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := tlstest.Configs(tls.VersionTLS13)
		n := looptest.New(t, looptest.Config{})
		host, other := n.Host(), n.Host()
		g := host.NewGroup(loop.Config{Loops: 1})
		ln := must(g.Listen("tcp", netip.AddrPortFrom(host.Addr(), 443).String(), func(*loop.Conn) loop.Handler { return tlsconn.Server(server, dataOnly{}) }))
		const silent = 500
		peers := make([]*looptest.Conn, 0, 3*silent)
		hello := clientHello(t, client)
		for i := range cap(peers) {
			c := must(other.Dial("tcp", ln.Addr().String()))
			peers = append(peers, c)
			c.Write(hello[:len(hello)*(i%3)/2])
		}
		settle()
		if s := tlsconn.StatsOf(g); s.InProgress != silent || s.Waiting != silent {
			t.Errorf("with %d silent clients: %+v, want a goroutine for those that have sent a ClientHello", len(peers), s)
		}
		raw := must(other.Dial("tcp", ln.Addr().String()))
		begun := time.Now()
		if err := tls.Client(raw, client).Handshake(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("a handshake has taken %v", took)
		}
		raw.Close()
		for _, c := range peers {
			c.Close()
		}
		settle()
		if s := tlsconn.StatsOf(g); s.InProgress != 0 || s.Failed != uint64(len(peers)) {
			t.Errorf("with all clients gone: %+v", s)
		}
	})
}

// clientHello returns the first flight of a client.
func clientHello(t *testing.T, config *tls.Config) []byte {
	c := &firstWrite{}
	if err := tls.Client(c, config).Handshake(); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	return c.first
}

type firstWrite struct {
	looptest.Conn
	first []byte
}

func (f *firstWrite) Write(b []byte) (int, error) {
	f.first = append(f.first, b...)
	return 0, errCut
}

func (f *firstWrite) Close() error { return nil }

// A dial whose context ends during the handshake returns, and nothing is left.
func TestDialIsCanceledDuringHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client := tlstest.Configs(tls.VersionTLS13)
		n := looptest.New(t, looptest.Config{})
		host, other := n.Host(), n.Host()
		ln := must(host.Listen("tcp", host.Addr().String()+":443"))
		defer ln.Close()
		g := other.NewGroup(loop.Config{Loops: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := tlsconn.Dial(ctx, g, "tcp", ln.Addr().String(), client, func(*loop.Conn) loop.Handler { return dataOnly{} })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial returned %v", err)
		}
		settle()
		if s := tlsconn.StatsOf(g); g.Conns() != 0 || s.InProgress != 0 {
			t.Errorf("%d connections are left, and %+v", g.Conns(), s)
		}
	})
}
