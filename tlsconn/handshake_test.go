package tlsconn_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"

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

// Dial with an invalid configuration returns an error that names the invalid part.
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
		for want, d := range map[string]tlsconn.Dialer{"the Dialer is nil": nil, "accept is nil": g} {
			_, err := tlsconn.Dial(t.Context(), d, "tcp", ln.Addr().String(), client, nil)
			if !errors.Is(err, loop.ErrBadArgument) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), ln.Addr().String()) {
				t.Errorf("Dial returned %v, want that %s, and the address", err, want)
			}
		}
	})
}
