package tlsconn_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/tlsconn"
)

// A router is what a test of Peek asks for, and what it got.
type router struct {
	seen []tlsconn.ClientHello
	next func(tlsconn.ClientHello) loop.Handler
}

func (r *router) choose(hello tlsconn.ClientHello) loop.Handler {
	r.seen = append(r.seen, hello)
	return r.next(hello)
}

func peekSide(t *testing.T, o tlsconn.Options, r *router) *looptest.Conn {
	return looptest.Pipe(t, func(*loop.Conn) loop.Handler { return o.Peek(r.choose) })
}

// Peek reports what the client asks for, wherever its first message is cut, and the server gets all of it.
func TestPeekAndServer(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		synctest.Test(t, func(t *testing.T) {
			server, client := tlstest.Configs(version)
			client.NextProtos = []string{"h2", "http/1.1"}
			for cut := 0; ; cut += 7 {
				rec := newRecorder()
				rec.echo = true
				r := &router{next: func(tlsconn.ClientHello) loop.Handler { return tlsconn.Server(server, rec) }}
				raw := peekSide(t, tlsconn.Options{}, r)
				cutting := &cutConn{Conn: raw, left: cut}
				c := tls.Client(cutting, client)
				io.WriteString(c, "hello")
				c.CloseWrite()
				got, err := io.ReadAll(c)
				if string(got) != "hello" || err != nil {
					t.Fatalf("cut after %d bytes: the client got %q, %v", cut, got, err)
				}
				if len(r.seen) != 1 || r.seen[0].ServerName != "server.example" || !slices.Equal(r.seen[0].Protocols, client.NextProtos) ||
					r.seen[0].Versions[0] != version || r.seen[0].Err != nil || r.seen[0].Conn == nil {
					t.Fatalf("cut after %d bytes: the function got %+v", cut, r.seen)
				}
				if why := <-rec.closed; why != nil || rec.callbacks() != "ODRC" {
					t.Fatalf("Closed got %v, callbacks %s", why, rec.callbacks())
				}
				if cutting.left >= 0 {
					return
				}
			}
		})
	}
}

// A relay passes on the encrypted bytes: the client does its handshake with the server behind it.
func TestPeekAndRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := tlstest.Configs(tls.VersionTLS13)
		n := looptest.New(t, looptest.Config{})
		behind, proxy, host := n.Host(), n.Host(), n.Host()
		rec := newRecorder()
		rec.echo = true
		target := must(behind.NewGroup(loop.Config{}).Listen("tcp", behind.Addr().String()+":443", func(*loop.Conn) loop.Handler { return tlsconn.Server(server, rec) }))
		g := proxy.NewGroup(loop.Config{})
		ln := must(g.Listen("tcp", proxy.Addr().String()+":443", func(*loop.Conn) loop.Handler {
			return tlsconn.Peek(func(hello tlsconn.ClientHello) loop.Handler {
				if hello.ServerName != "server.example" {
					t.Errorf("the function got %+v", hello)
				}
				return must(loop.RelayTo("tcp", target.Addr().String(), loop.RelayConfig{}))
			})
		}))
		raw := must(host.Dial("tcp", ln.Addr().String()))
		defer raw.Close()
		c := tls.Client(raw, client)
		io.WriteString(c, "through the relay")
		c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "through the relay" || err != nil {
			t.Errorf("the client got %q, %v", got, err)
		}
	})
}

// Bytes that are no TLS are seen as such, and a handler of another protocol gets all of them, and its Opened.
func TestPeekOtherProtocol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := newRecorder()
		rec.echo = true
		r := &router{next: func(hello tlsconn.ClientHello) loop.Handler {
			if !errors.Is(hello.Err, tlsconn.ErrNotTLS) || hello.ServerName != "" {
				t.Errorf("the function got %+v", hello)
			}
			return rec
		}}
		c := peekSide(t, tlsconn.Options{}, r)
		io.WriteString(c, "GET")
		settle()
		if len(r.seen) != 0 {
			t.Error("the function was called for 3 bytes")
		}
		io.WriteString(c, " / HTTP/1.1\r\n")
		c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "GET / HTTP/1.1\r\n" || err != nil {
			t.Errorf("the client got %q, %v", got, err)
		}
		<-rec.closed
		if got := rec.callbacks(); got != "ODRC" {
			t.Errorf("callbacks %s, want ODRC", got)
		}
	})
}

// A client that is refused, silent, or gone does not stay.
func TestPeekEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &router{next: func(tlsconn.ClientHello) loop.Handler { return nil }}
		c := peekSide(t, tlsconn.Options{}, r)
		if _, err := tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Read(nil); err == nil {
			t.Error("a client that is refused has done a handshake")
		}
		if len(r.seen) != 1 {
			t.Error("the function was not called")
		}
		r.seen = nil
		c = peekSide(t, tlsconn.Options{HandshakeTimeout: 3 * time.Second}, r)
		begun := time.Now()
		io.WriteString(c, "\x16\x03")
		io.ReadAll(c)
		if took := time.Since(begun); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("a silent client was closed after %v, want 3 s", took)
		}
		c = peekSide(t, tlsconn.Options{}, r)
		io.WriteString(c, "\x16\x03")
		c.CloseWrite()
		begun = time.Now()
		io.ReadAll(c)
		if took := time.Since(begun); took > time.Second || len(r.seen) > 0 {
			t.Errorf("a client that is gone was closed after %v; the function got %+v", took, r.seen)
		}
	})
}

// The time for the first message does not limit the connection after it.
func TestPeekDeadlineEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &router{next: func(tlsconn.ClientHello) loop.Handler { return echo{} }}
		c := peekSide(t, tlsconn.Options{HandshakeTimeout: 3 * time.Second}, r)
		for range 3 {
			io.WriteString(c, "no TLS\n")
			if line := readLine(c); line != "no TLS\n" {
				t.Fatalf("the client got %q", line)
			}
			time.Sleep(time.Minute)
		}
	})
}

// A ClientHello longer than the loop keeps is an error that the function sees.
func TestPeekLongHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &router{next: func(tlsconn.ClientHello) loop.Handler { return nil }}
		n := looptest.New(t, looptest.Config{})
		c := n.Pipe(loop.Config{MaxUnreadBytes: 1000}, func(*loop.Conn) loop.Handler { return tlsconn.Peek(r.choose) })
		c.Write(append([]byte{22, 3, 1, 0x20, 0, 1, 0, 0x1f, 0xfc}, make([]byte, 2000)...))
		io.ReadAll(c)
		if len(r.seen) != 1 || r.seen[0].Err == nil {
			t.Errorf("the function got %+v", r.seen)
		}
	})
}

var _ net.Conn = (*early1)(nil)
