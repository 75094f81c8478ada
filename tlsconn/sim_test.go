package tlsconn_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/tlsconn"
)

// A side is one end of TLS on a loop, on a simulated network. The test plays the other end.
type side struct {
	client  bool
	version uint16
	network looptest.Config
	group   loop.Config
	options tlsconn.Options
}

func (s side) String() string {
	role := "server"
	if s.client {
		role = "client"
	}
	return role + "/" + tls.VersionName(s.version)
}

// sides runs f for both roles and versions.
func sides(t *testing.T, f func(t *testing.T, s side)) {
	for _, client := range []bool{false, true} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			s := side{client: client, version: version}
			t.Run(s.String(), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, s) }) })
		}
	}
}

// handler returns h above TLS.
func (s side) handler(h loop.Handler) loop.Handler {
	server, client := tlstest.Configs(s.version)
	if s.client {
		return s.options.Client(client, h)
	}
	return s.options.Server(server, h)
}

// connect returns the other end of a connection whose handler, above TLS, is h. dialed gets the result of a dial, if
// the side is a client's.
func (s side) connect(t *testing.T, h loop.Handler) (peer *looptest.Conn, g *loop.Group, dialed <-chan error) {
	t.Helper()
	n := looptest.New(t, s.network)
	s.group.Loops = 1
	host, other := n.Host(), n.Host()
	g = host.NewGroup(s.group)
	accept := func(*loop.Conn) loop.Handler { return s.handler(h) }
	results := make(chan error, 1)
	if s.client {
		ln := must(other.Listen("tcp", netip.AddrPortFrom(other.Addr(), 443).String()))
		go func() {
			_, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), accept)
			results <- err
		}()
		c := must(ln.Accept())
		ln.Close()
		peer = c.(*looptest.Conn)
	} else {
		ln := must(g.Listen("tcp", netip.AddrPortFrom(host.Addr(), 443).String(), accept))
		peer = must(other.Dial("tcp", ln.Addr().String()))
		t.Cleanup(func() { ln.Close() })
	}
	t.Cleanup(func() { peer.Close() })
	return peer, g, results
}

// other returns crypto/tls on the other end.
func (s side) other(c net.Conn) *tls.Conn {
	server, client := tlstest.Configs(s.version)
	if s.client {
		return tls.Server(c, server)
	}
	return tls.Client(c, client)
}

// settle lets everything happen that takes less than a second of simulated time.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}
