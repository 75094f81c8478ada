package tlsconn_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/netip"
	"testing"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// starter is the plain part of a protocol with STARTTLS: a line that asks for it, and a line that agrees.
type starter struct {
	above loop.Handler // with TLS
	says  string
}

func (h *starter) Opened(c *loop.Conn) {
	if h.says != "" {
		io.WriteString(c, h.says)
	}
}

func (h *starter) Data(c *loop.Conn, b []byte) (int, error) {
	line, _, ok := bytes.Cut(b, []byte("\n"))
	if !ok {
		return 0, nil
	}
	if h.says == "" {
		io.WriteString(c, "go ahead\n")
	}
	return len(line) + 1, c.SetHandler(h.above)
}

// A connection may begin without TLS, and change to it by SetHandler, also if the peer sends its ClientHello together with
// what comes before.
func TestStartTLS(t *testing.T) {
	sides(t, func(t *testing.T, s side) {
		s.adverse(t, func(s side) {
			for _, early := range []bool{false, true} {
				r := newRecorder()
				r.echo = true
				h := &starter{above: s.handler(t, r)}
				if s.client {
					h.says = "please\n"
				}
				raw := s.connectPlain(t, h)
				var c *tls.Conn
				if s.client {
					if line := readLine(raw); line != "please\n" {
						t.Fatalf("the server got %q", line)
					}
					io.WriteString(raw, "go ahead\n")
					c = s.other(raw)
				} else if c = s.other(&early1{Conn: raw, first: "please\n", early: early}); !early {
					io.WriteString(raw, "please\n")
					if line := readLine(raw); line != "go ahead\n" {
						t.Fatalf("the client got %q", line)
					}
				}
				io.WriteString(c, "secret")
				c.CloseWrite()
				if got, err := io.ReadAll(c); string(got) != "secret" || err != nil {
					t.Errorf("the peer got %q, %v", got, err)
				}
				if why := <-r.closed; why != nil || r.callbacks() != "ODRC" {
					t.Errorf("Closed got %v, callbacks %s", why, r.callbacks())
				}
				raw.Close()
			}
		})
	})
}

// early1 sends its first text and the ClientHello in one piece, and skips the answer.
type early1 struct {
	*looptest.Conn
	first string
	early bool
}

func (e *early1) Write(b []byte) (int, error) {
	if !e.early {
		return e.Conn.Write(b)
	}
	e.early = false
	if _, err := e.Conn.Write(append([]byte(e.first), b...)); err != nil {
		return 0, err
	}
	readLine(e.Conn)
	return len(b), nil
}

func readLine(r io.Reader) string {
	var line []byte
	for b := make([]byte, 1); len(line) == 0 || line[len(line)-1] != '\n'; line = append(line, b[0]) {
		if _, err := io.ReadFull(r, b); err != nil {
			return string(line) + err.Error()
		}
	}
	return string(line)
}

// connectPlain is connect with a handler that is not above TLS.
func (s side) connectPlain(t *testing.T, h loop.Handler) *looptest.Conn {
	n := looptest.New(t, s.network)
	host, other := n.Host(), n.Host()
	s.group.Loops = 1
	g := host.NewGroup(s.group)
	ln := must(other.Listen("tcp", netip.AddrPortFrom(other.Addr(), 443).String()))
	go g.Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return h })
	c := must(ln.Accept()).(*looptest.Conn)
	ln.Close()
	t.Cleanup(func() { c.Close() })
	return c
}

// A handshake after STARTTLS that fails is the reason of the connection, and the handler above TLS gets Closed.
func TestStartTLSFails(t *testing.T) {
	sides(t, func(t *testing.T, s side) {
		r := newRecorder()
		raw := s.connectPlain(t, &starter{above: s.handler(t, r)})
		io.WriteString(raw, "please\nthis is not TLS")
		io.ReadAll(raw)
		if why := <-r.closed; why == nil || r.callbacks() != "C" {
			t.Errorf("Closed got %v, callbacks %s", why, r.callbacks())
		}
	})
}
