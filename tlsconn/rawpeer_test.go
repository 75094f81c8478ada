package tlsconn_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/tlsconn"
)

// A rawPeer is the other end of a connection of TLS 1.3 that can send any record.
type rawPeer struct {
	*looptest.Conn
	t       *testing.T
	records *bufio.Reader // of what comes
	out, in *tlstest.Half
}

// rawHandshake does a handshake by crypto/tls, and takes over its keys.
func (s side) rawHandshake(t *testing.T, h loop.Handler) (*rawPeer, *loop.Group) {
	t.Helper()
	server, client := tlstest.Configs(tls.VersionTLS13)
	server.SessionTicketsDisabled = true
	var keys bytes.Buffer
	n := looptest.New(t, s.network)
	s.group.Loops = 1
	host, other := n.Host(), n.Host()
	g := host.NewGroup(s.group)
	var raw *looptest.Conn
	var c *tls.Conn
	if s.client {
		server.KeyLogWriter = &keys
		ln := must(other.Listen("tcp", other.Addr().String()+":443"))
		if err := g.Loops()[0].Dial(t.Context(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return tlsconn.Checked(t, tlsconn.Client(client, h)) }, func(*loop.Conn, error) {}); err != nil {
			t.Fatal(err)
		}
		raw = must(ln.Accept()).(*looptest.Conn)
		ln.Close()
		c = tls.Server(raw, server)
	} else {
		client.KeyLogWriter = &keys
		ln := must(g.Listen("tcp", host.Addr().String()+":443", func(*loop.Conn) loop.Handler { return tlsconn.Checked(t, tlsconn.Server(server, h)) }))
		t.Cleanup(func() { ln.Close() })
		raw = must(other.Dial("tcp", ln.Addr().String()))
		c = tls.Client(raw, client)
	}
	t.Cleanup(func() { raw.Close() })
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	settle()
	if c.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("skipped: this processor has no instructions for AES, so crypto/tls chooses a cipher that this test does not have")
	}
	halves := map[string]*tlstest.Half{}
	for line := range strings.Lines(keys.String()) {
		if f := strings.Fields(line); len(f) == 3 {
			halves[f[0]] = tlstest.NewHalf(t, must(hex.DecodeString(f[2])))
		}
	}
	p := &rawPeer{Conn: raw, t: t, records: bufio.NewReader(raw), out: halves["CLIENT_TRAFFIC_SECRET_0"], in: halves["SERVER_TRAFFIC_SECRET_0"]}
	if s.client {
		p.out, p.in = p.in, p.out
	}
	return p, g
}

// next returns the next record.
func (p *rawPeer) next() (kind byte, payload []byte) {
	record := make([]byte, 5)
	if _, err := io.ReadFull(p.records, record); err != nil {
		p.t.Fatal("the peer of the raw connection:", err)
	}
	record = append(record, make([]byte, int(record[3])<<8|int(record[4]))...)
	if _, err := io.ReadFull(p.records, record[5:]); err != nil {
		p.t.Fatal("the peer of the raw connection:", err)
	}
	kind, payload, _ = p.in.Open(record)
	if kind == tlstest.TypeHandshake && bytes.Equal(payload, tlstest.KeyUpdate(0)) {
		p.in.Update()
	}
	return kind, payload
}

// raws runs f for both roles, with drivers like epoll and adverse ones.
func raws(t *testing.T, f func(t *testing.T, s side)) {
	for _, client := range []bool{false, true} {
		s := side{client: client, version: tls.VersionTLS13}
		t.Run(s.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { s.adverse(t, func(s side) { f(t, s) }) })
		})
	}
}
