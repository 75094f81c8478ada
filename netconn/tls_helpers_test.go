package netconn_test

import (
	"crypto/tls"
	"testing"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/tlsconn"
)

var tlsVersions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// versions runs f with configurations of both versions of TLS.
func versions(t *testing.T, f func(t *testing.T, server, client *tls.Config)) {
	for _, v := range tlsVersions {
		t.Run(tls.VersionName(v), func(t *testing.T) {
			server, client := tlstest.Configs(v)
			f(t, server, client)
		})
	}
}

// listenTLS listens with TLS. The listener is closed after the test.
func listenTLS(t testing.TB, g *loop.Group, network string, config *tls.Config, o tlsconn.Options) *netconn.Listener {
	t.Helper()
	return listenWith(t, &netconn.ListenConfig{Group: g, TLSConfig: config, TLSOptions: o}, network)
}

// pairTLS is pair with TLS on both ends.
func pairTLS(t testing.TB, g *loop.Group, network string, server, client *tls.Config) (dialed, accepted *netconn.TLSConn) {
	t.Helper()
	return connect[*netconn.TLSConn](t, listenTLS(t, g, network, server, tlsconn.Options{}), &netconn.Dialer{Group: g, TLSConfig: client})
}

// halfTLS returns an end with TLS, and the other end, which has crypto/tls on a connection without.
func halfTLS(t *testing.T, g *loop.Group, client bool, version uint16) (c *netconn.TLSConn, peer *tls.Conn, below *netconn.Conn) {
	t.Helper()
	server, dialer := tlstest.Configs(version)
	if client {
		ln := listen(t, g, "tcp")
		defer ln.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			below = must(ln.Accept()).(*netconn.Conn)
			if peer = tls.Server(below, server); peer.Handshake() != nil {
				below.Close()
			}
		}()
		d, err := (&netconn.Dialer{Group: g, TLSConfig: dialer}).Dial("tcp", ln.Addr().String())
		if <-done; err != nil {
			t.Fatal(err)
		}
		c = d.(*netconn.TLSConn)
	} else {
		ln := listenTLS(t, g, "tcp", server, tlsconn.Options{})
		defer ln.Close()
		below = must(netconn.Dial(g, "tcp", ln.Addr().String())).(*netconn.Conn)
		if peer = tls.Client(below, dialer); peer.Handshake() != nil {
			t.Fatal("the handshake of crypto/tls has failed")
		}
		c = must(ln.Accept()).(*netconn.TLSConn)
	}
	t.Cleanup(func() { c.Close(); below.Close() })
	return c, peer, below
}

// halves runs f for both roles and versions.
func halves(t *testing.T, g *loop.Group, f func(c *netconn.TLSConn, peer *tls.Conn, below *netconn.Conn)) {
	t.Helper()
	for _, client := range []bool{false, true} {
		for _, version := range tlsVersions {
			c, peer, below := halfTLS(t, g, client, version)
			f(c, peer, below)
			c.Close()
			below.Close()
		}
	}
}
