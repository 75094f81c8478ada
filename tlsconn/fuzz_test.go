package tlsconn_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// FuzzFirstBytes gives a server any first bytes, in two parts, behind Peek or not. It must answer or close, and panic
// never; Peek passes on every byte.
func FuzzFirstBytes(f *testing.F) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	c := &firstWrite{}
	tls.Client(c, client).Handshake()
	f.Add(c.first, uint16(7), true)
	f.Add(c.first, uint16(0), false)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(3), true)
	f.Add([]byte{22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 1, 0, 22, 3, 1, 0, 0}, uint16(5), false)
	f.Add(bytes.Repeat([]byte{22, 3, 1, 0, 1, 1}, 500), uint16(1000), true)
	g := newGroup(f, loop.Config{Loops: 1})
	serve := func(h func() loop.Handler) string {
		ln := must(g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return h() }))
		f.Cleanup(func() { ln.Close() })
		return ln.Addr().String()
	}
	peeks := serve(func() loop.Handler {
		return tlsconn.Peek(func(hello tlsconn.ClientHello) loop.Handler {
			if hello.Err == nil {
				return tlsconn.Server(server, dataOnly{})
			}
			return echo{}
		})
	})
	serves := serve(func() loop.Handler { return tlsconn.Server(server, dataOnly{}) })
	f.Fuzz(func(t *testing.T, first []byte, cut uint16, peek bool) {
		address := serves
		if peek {
			address = peeks
		}
		c := must(net.Dial("tcp", address))
		defer c.Close()
		at := min(int(cut), len(first))
		c.Write(first[:at])
		c.Write(first[at:])
		c.(*net.TCPConn).CloseWrite()
		got, _ := io.ReadAll(c)
		isTLS := len(first) >= 5 && first[0] == 22 && first[1] < 0x10
		if peek && len(first) >= 5 && !isTLS && !bytes.Equal(got, first) {
			t.Errorf("Peek passed on %d bytes of %d", len(got), len(first))
		}
	})
}
