package tlsconn_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/tlsconn"
)

// A record that is no TLS, and one that cannot be decrypted, get an alert; what was received before is delivered.
func TestGarbage(t *testing.T) {
	for name, garbage := range map[string][]byte{
		"not TLS":      []byte("GET / HTTP/1.1\r\n\r\n"),
		"not a cipher": {23, 3, 3, 0, 40, 39: 1, 44: 1},
	} {
		t.Run(name, func(t *testing.T) {
			sides(t, func(t *testing.T, s side) {
				s.adverse(t, func(s side) {
					r := newRecorder()
					c, raw, _ := s.handshake(t, r)
					io.WriteString(c, "before")
					raw.Write(garbage)
					_, err := c.Read(make([]byte, 1))
					if !isAlert(err) {
						t.Errorf("the peer got %v, want an alert", err)
					}
					why := <-r.closed
					if got := r.received(); string(got) != "before" || why == nil || errors.Is(why, io.EOF) {
						t.Errorf("Data got %q, Closed %v", got, why)
					}
				})
			})
		})
	}
}

// pauser pauses in Data.
type pauser struct{ *recorder }

func (p pauser) Data(c *loop.Conn, b []byte) (int, error) {
	c.Pause()
	return p.recorder.Data(c, b)
}

// A failure of TLS in bytes that have arrived together with data is the reason of a connection also while it is paused.
func TestGarbageWhilePaused(t *testing.T) {
	raws(t, func(t *testing.T, s side) {
		r := newRecorder()
		p, _ := s.rawHandshake(t, pauser{r})
		p.Write(append(p.out.Seal(tlstest.TypeApplication, []byte("data"), 0), []byte("GET / HTTP/1.1\r\n\r\n")...))
		settle()
		if len(r.closed) == 0 && s.network.Adversity == (looptest.Adversity{}) {
			t.Error("Closed is not called")
		}
		(<-r.opened).Resume()
		if why := <-r.closed; why == nil || string(r.received()) != "data" {
			t.Errorf("Data got %q, Closed %v", r.received(), why)
		}
	})
}

// What a peer sends after close_notify is ignored, and bounded: it does not keep the loop busy. This side may go on sending.
func TestBytesAfterCloseNotify(t *testing.T) {
	raws(t, func(t *testing.T, s side) {
		r := newRecorder()
		r.half = true
		p, _ := s.rawHandshake(t, r)
		conn := <-r.opened
		conn.SetReadBuffer(4 << 10)
		p.SetWriteBuffer(4 << 10)
		p.Write(append(p.out.Seal(tlstest.TypeAlert, []byte{1, 0}, 0), p.out.Seal(tlstest.TypeApplication, []byte("late"), 0)...))
		<-r.ended
		sent := make(chan bool, 1)
		go func() {
			p.Write(make([]byte, 4<<20))
			sent <- true
		}()
		settle()
		if len(sent) > 0 {
			t.Error("everything is received after close_notify")
		}
		conn.Write([]byte("still here"))
		if kind, payload := p.next(); kind != tlstest.TypeApplication || string(payload) != "still here" {
			t.Errorf("a record of type %d with %q came", kind, payload)
		}
		conn.Abort()
		<-sent
		if got := r.received(); len(got) > 0 {
			t.Errorf("the handler got %q", got)
		}
	})
}

// Bytes that are no TLS at all get an alert from a server.
func TestPlaintextRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		side{version: tls.VersionTLS13}.adverse(t, func(s side) {
			var failed error
			s.options.HandshakeFailed = func(c *loop.Conn, err error) {
				if c.RemoteAddr() == nil {
					t.Error("the peer's address is not known")
				}
				failed = err
			}
			r := newRecorder()
			raw, g, _ := s.connect(t, r)
			io.WriteString(raw, "GET / HTTP/1.1\r\n\r\n")
			got, err := io.ReadAll(raw)
			if want := []byte{21, 3, 1, 0, 2, 2, 10}; !bytes.Equal(got, want) || err != nil {
				t.Errorf("the client got %v, %v, want the alert unexpected_message, and the end", got, err)
			}
			if _, ok := errors.AsType[tls.RecordHeaderError](failed); !ok {
				t.Errorf("HandshakeFailed got %v", failed)
			}
			if got := r.callbacks(); got != "" {
				t.Errorf("callbacks %s of a handler whose handshake has failed", got)
			}
			if stats := tlsconn.StatsOf(g); stats.Failed != 1 || stats.Completed != 0 || stats.InProgress != 0 {
				t.Errorf("Stats: %+v", stats)
			}
		})
	})
}
