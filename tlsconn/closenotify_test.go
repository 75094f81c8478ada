package tlsconn_test

import (
	"io"
	"testing"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/tlsconn"
)

// Close and CloseWrite send close_notify. crypto/tls as the peer would not notice its absence, as it takes FIN between two
// records for the end of the stream: so both ends are of this package.
func TestCloseNotifyIsSent(t *testing.T) {
	for name, end := range map[string]func(*loop.Conn) error{"Close": (*loop.Conn).Close, "CloseWrite": (*loop.Conn).CloseWrite} {
		t.Run(name, func(t *testing.T) {
			sides(t, func(t *testing.T, s side) {
				server, client := tlstest.Configs(s.version)
				n := looptest.New(t, looptest.Config{})
				host, other := n.Host(), n.Host()
				accepted, dialed := newRecorder(), newRecorder()
				ln := must(host.NewGroup(loop.Config{Loops: 1}).Listen("tcp", host.Addr().String()+":443", func(*loop.Conn) loop.Handler {
					return tlsconn.Checked(t, tlsconn.Server(server, accepted))
				}))
				must(tlsconn.Dial(t.Context(), other.NewGroup(loop.Config{Loops: 1}), "tcp", ln.Addr().String(), client, func(*loop.Conn) loop.Handler { return dialed }))
				ends, notified := accepted, dialed
				if s.client {
					ends, notified = dialed, accepted
				}
				settle()
				if err := end(<-ends.opened); err != nil {
					t.Error(err)
				}
				if why := <-notified.closed; why != nil || notified.callbacks() != "ORC" {
					t.Errorf("the peer's Closed got %v, callbacks %s, want ReadClosed, and no error", why, notified.callbacks())
				}
			})
		})
	}
}

// A peer that closes its socket after close_notify, as crypto/tls does, resets the connection when it gets the answer: that is no
// failure of a stream that both sides have ended.
func TestResetAfterBothEndsIsNoFailure(t *testing.T) {
	for name, answer := range map[string]func(*loop.Conn) error{"Close": (*loop.Conn).Close, "CloseWrite": (*loop.Conn).CloseWrite} {
		t.Run(name, func(t *testing.T) {
			sides(t, func(t *testing.T, s side) {
				s.adverse(t, func(s side) {
					r := newRecorder()
					r.half = true
					c, raw, _ := s.handshake(t, r)
					conn := <-r.opened
					io.WriteString(c, "all")
					c.CloseWrite()
					raw.Close()
					<-r.ended
					if err := answer(conn); err != nil {
						t.Error(err)
					}
					settle() // the reset has arrived, if there is one
					conn.Close()
					if why := <-r.closed; why != nil || r.callbacks() != "ODRC" {
						t.Errorf("Closed got %v, callbacks %s, want no error", why, r.callbacks())
					}
				})
			})
		})
	}
}
