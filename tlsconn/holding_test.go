package tlsconn_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/pollux-io/pollux/internal/grouptest"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// paused is a recorder that pauses in Opened.
type paused struct{ *recorder }

func (p paused) Opened(c *loop.Conn) {
	c.Pause()
	p.recorder.Opened(c)
}

// gathering is a net.Conn whose Write gathers bytes, until the test takes them, once gathers is set.
type gathering struct {
	net.Conn
	gathers bool
	bytes   []byte
}

func (g *gathering) Write(b []byte) (int, error) {
	if !g.gathers {
		return g.Conn.Write(b)
	}
	g.bytes = append(g.bytes, b...)
	return len(b), nil
}

// Read is first called when the ClientHello is sent: what follows is the end of the client's handshake.
func (g *gathering) Read(b []byte) (int, error) {
	g.gathers = true
	return g.Conn.Read(b)
}

// What is received with the end of the handshake, what a driver delivers after it was paused, and the end that it reports
// then, come to a paused handler after Resume, in order. Release drops them.
func TestReceivedWithTheHandshakeWhilePaused(t *testing.T) {
	for _, resumes := range []bool{true, false} {
		g := grouptest.New(t, loop.Config{Loops: 1})
		server, client := tlstest.Configs(tls.VersionTLS13)
		r := newRecorder()
		ln := must(g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return tlsconn.Server(server, paused{r}) }))
		raw := &gathering{Conn: must(net.Dial("tcp", ln.Addr().String()))}
		c := tls.Client(raw, client)
		must(io.WriteString(c, "first "))
		must(raw.Conn.Write(raw.bytes)) // one segment, with the end of the handshake
		conn := <-r.opened
		raw.bytes = nil
		must(io.WriteString(c, "second"))
		held := make(chan int, 1)
		conn.Loop().Run(func() {
			up := tlsconn.UpcallsOf(conn)
			if up.Received(raw.bytes) {
				t.Error("Received returned true while the handler is paused")
			}
			up.ReceiveEnded(io.EOF)
			held <- tlsconn.HeldBytes(conn)
		})
		if n := <-held; n == 0 {
			t.Error("the layer holds nothing")
		}
		if resumes {
			conn.Resume()
			mustTruncated(t, <-r.closed)
			if got := string(r.received()); got != "first second" {
				t.Errorf("Data got %q, want %q", got, "first second")
			}
		} else {
			conn.Abort()
			<-r.closed
			conn.Loop().Run(func() { held <- tlsconn.HeldBytes(conn) })
			if n := <-held; n > 0 {
				t.Errorf("a released layer holds %d bytes", n)
			}
		}
		raw.Close()
		ln.Close()
	}
}
