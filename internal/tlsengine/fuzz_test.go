package tlsengine

import (
	"crypto/tls"
	"testing"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
)

// FuzzHandshakeInput gives a handshake any bytes in any pieces, then the end: it ends with an error, whatever they are.
func FuzzHandshakeInput(f *testing.F) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	hello := firstFlight(f, client)
	f.Add(hello, byte(0), false)
	f.Add(append(hello[:len(hello):len(hello)], "\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x01x"...), byte(1), false)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), byte(3), true)
	f.Add([]byte("\x16\x03\x03\xff\xff"), byte(2), false)
	f.Fuzz(func(t *testing.T, b []byte, step byte, asClient bool) {
		o := Options{Config: server}
		if asClient {
			o = Options{Config: client, Client: true}
		}
		n := len(b)
		if step > 0 {
			n = int(step)
		}
		r := newRig(t, o, -1, func(rest int) int { return min(n, rest) })
		r.peer.out.Write(b)
		r.peer.out.end()
		r.until(func() bool { return false })
		if r.err == nil || !r.done || r.c.handshake == nil {
			t.Fatalf("%v, done: %v", r.err, r.done)
		}
	})
}
