package tlsconn_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"testing"
	"testing/synctest"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/tlsconn"
)

// FuzzFirstBytes gives a server any first bytes, in two parts, behind Peek or not. It must answer or close, and panic
// never; Peek passes on every byte.
func FuzzFirstBytes(f *testing.F) {
	_, client := tlstest.Configs(tls.VersionTLS13)
	c := &firstWrite{}
	tls.Client(c, client).Handshake()
	f.Add(c.first, uint16(7), true)
	f.Add(c.first, uint16(0), false)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(3), true)
	f.Add([]byte{22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 1, 0, 22, 3, 1, 0, 0}, uint16(5), false)
	f.Add(bytes.Repeat([]byte{22, 3, 1, 0, 1, 1}, 500), uint16(1000), true)
	f.Fuzz(func(t *testing.T, first []byte, cut uint16, peek bool) {
		synctest.Test(t, func(t *testing.T) {
			server, _ := tlstest.Configs(tls.VersionTLS13)
			var got []byte
			peer := looptest.Pipe(t, func(*loop.Conn) loop.Handler {
				if !peek {
					return tlsconn.Server(server, dataOnly{})
				}
				return tlsconn.Peek(func(hello tlsconn.ClientHello) loop.Handler {
					if hello.Err == nil {
						return tlsconn.Server(server, dataOnly{})
					}
					return collector{&got}
				})
			})
			at := min(int(cut), len(first))
			peer.Write(first[:at])
			settle()
			peer.Write(first[at:])
			peer.CloseWrite()
			io.ReadAll(peer) // ends before any timeout, or Config.MaxTime of the network
			settle()
			if len(got) > 0 && !bytes.Equal(got, first) {
				t.Errorf("Peek passed on %d bytes of %d", len(got), len(first))
			}
		})
	})
}

// collector stores what it receives.
type collector struct{ to *[]byte }

func (c collector) Data(_ *loop.Conn, b []byte) (int, error) {
	*c.to = append(*c.to, b...)
	return len(b), nil
}
