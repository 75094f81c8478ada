package tlsconn_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/tlsconn"
)

// handshake returns the other end of a connection whose handler is r, after the handshake.
func (s side) handshake(t *testing.T, h loop.Handler) (*tls.Conn, *looptest.Conn, *loop.Group) {
	t.Helper()
	raw, g, _ := s.connect(t, h)
	c := s.other(raw)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	settle()
	return c, raw, g
}

// adverse runs f on a network like epoll, and on one that does whatever drivers may do.
func (s side) adverse(t *testing.T, f func(s side)) {
	f(s)
	s.network.Adversity = looptest.Adverse()
	for seed := range uint64(5) {
		s.network.Seed = seed
		if f(s); t.Failed() {
			t.Fatal("adverse, seed", seed)
		}
	}
}

// Each side may end first, and go on receiving.
func TestHalfClose(t *testing.T) {
	sides(t, func(t *testing.T, s side) {
		s.adverse(t, func(s side) {
			r := newRecorder()
			r.half = true
			c, _, _ := s.handshake(t, r)
			conn := <-r.opened
			conn.Write([]byte("all"))
			if err := conn.CloseWrite(); err != nil {
				t.Error(err)
			}
			if got, err := io.ReadAll(c); string(got) != "all" || err != nil {
				t.Errorf("the peer got %q, %v", got, err)
			}
			io.WriteString(c, "after the end of the other side")
			c.CloseWrite()
			<-r.ended
			if got := r.received(); string(got) != "after the end of the other side" {
				t.Errorf("the handler got %q", got)
			}
			conn.Close()
			if why := <-r.closed; why != nil || r.callbacks() != "ODRC" {
				t.Errorf("Closed got %v, callbacks %s", why, r.callbacks())
			}

			r = newRecorder()
			r.half = true
			c, _, _ = s.handshake(t, r)
			conn = <-r.opened
			c.CloseWrite()
			<-r.ended
			conn.Write([]byte("late"))
			conn.Close()
			if got, err := io.ReadAll(c); string(got) != "late" || err != nil {
				t.Errorf("the peer got %q, %v", got, err)
			}
			if why := <-r.closed; why != nil {
				t.Error("Closed got", why)
			}
		})
	})
}

// A peer that ends its side gets close_notify when the connection is closed because of that.
func TestCloseNotifyIsAnswered(t *testing.T) {
	sides(t, func(t *testing.T, s side) {
		s.adverse(t, func(s side) {
			c, _, _ := s.handshake(t, dataOnly{})
			c.CloseWrite()
			if got, err := io.ReadAll(c); len(got) > 0 || err != nil {
				t.Errorf("the peer got %q, %v, want close_notify", got, err)
			}
		})
	})
}

// dataOnly has none of the optional interfaces.
type dataOnly struct{}

func (dataOnly) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }

// After Abort, and after a reset, the peer does not see an end that looks complete.
func TestAbort(t *testing.T) {
	sides(t, func(t *testing.T, s side) {
		s.adverse(t, func(s side) {
			r := newRecorder()
			c, _, _ := s.handshake(t, r)
			conn := <-r.opened
			conn.Write([]byte("some"))
			settle()
			conn.Abort()
			if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the peer got %v, want ECONNRESET", err)
			}
			if why := <-r.closed; !errors.Is(why, loop.ErrAborted) {
				t.Error("Closed got", why)
			}
		})
	})
}

// After a panic in any callback, the peer does not see an end that looks complete. (crypto/tls takes a FIN for one.)
func TestPanicResets(t *testing.T) {
	for _, in := range []string{"Opened", "Data", "ReadClosed"} {
		t.Run(in, func(t *testing.T) {
			sides(t, func(t *testing.T, s side) {
				s.group.Logger = slog.New(slog.DiscardHandler)
				s.adverse(t, func(s side) {
					raw, _, _ := s.connect(t, panics(in))
					c := s.other(raw)
					c.Handshake() // may be reset before its end, after Opened
					settle()
					switch in { // once: a second call would find the reset, and hide it from Read
					case "Data":
						io.WriteString(c, "message")
					case "ReadClosed":
						c.CloseWrite()
					}
					if got, err := io.ReadAll(c); err == nil {
						t.Errorf("the peer got %q and the end, want a reset", got)
					}
				})
			})
		})
	}
}

// panics writes and then panics in one of its callbacks.
type panics string

func (p panics) in(c *loop.Conn, callback string) {
	if callback == string(p) {
		io.WriteString(c, "a part")
		panic("test")
	}
}

func (p panics) Opened(c *loop.Conn)     { p.in(c, "Opened") }
func (p panics) ReadClosed(c *loop.Conn) { p.in(c, "ReadClosed") }

func (p panics) Data(c *loop.Conn, b []byte) (int, error) {
	p.in(c, "Data")
	return len(b), nil
}

// A reset by the peer is the reason of the connection, whatever it does: receiving, paused, or after the peer's
// close_notify.
func TestResetIsDetected(t *testing.T) {
	for name, before := range map[string]func(c *tls.Conn, conn *loop.Conn, r *recorder){
		"receiving":          func(*tls.Conn, *loop.Conn, *recorder) {},
		"paused":             func(_ *tls.Conn, conn *loop.Conn, _ *recorder) { conn.Pause() },
		"after close_notify": func(c *tls.Conn, _ *loop.Conn, r *recorder) { c.CloseWrite(); <-r.ended },
		"paused, after close_notify": func(c *tls.Conn, conn *loop.Conn, r *recorder) {
			c.CloseWrite()
			<-r.ended
			conn.Pause()
		},
		"paused before close_notify": func(c *tls.Conn, conn *loop.Conn, r *recorder) {
			conn.Pause()
			settle()
			c.CloseWrite()
		},
	} {
		t.Run(name, func(t *testing.T) {
			sides(t, func(t *testing.T, s side) {
				s.adverse(t, func(s side) {
					r := newRecorder()
					r.half = true
					c, raw, _ := s.handshake(t, r)
					conn := <-r.opened
					before(c, conn, r)
					settle()
					raw.Abort()
					if why := <-r.closed; !errors.Is(why, syscall.ECONNRESET) {
						t.Error("Closed got", why)
					}
				})
			})
		})
	}
}

// What was received before a failure is delivered first, also to a handler that has paused.
func TestReceivedBeforeReset(t *testing.T) {
	sides(t, func(t *testing.T, s side) {
		s.adverse(t, func(s side) {
			r := newRecorder()
			c, raw, _ := s.handshake(t, r)
			conn := <-r.opened
			conn.Pause()
			settle()
			want := text(40000)
			c.Write(want)
			settle()
			raw.Abort()
			settle()
			conn.Resume()
			why := <-r.closed
			if got := r.received(); !bytes.Equal(got, want) || !errors.Is(why, syscall.ECONNRESET) {
				t.Errorf("Data got %d bytes of %d, Closed %v", len(got), len(want), why)
			}
		})
	})
}

// A panic in HandshakeFailed, and one that ends the goroutine, do not stop the loop.
func TestPanicInHandshakeFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := side{version: tls.VersionTLS13}
		s.options.HandshakeFailed = func(*loop.Conn, error) { panic("oh") }
		raw, g, _ := s.connect(t, newRecorder())
		io.WriteString(raw, "GET / HTTP/1.1\r\n\r\n")
		io.ReadAll(raw)
		if err := g.Loops()[0].Run(func() {}); err != nil {
			t.Error(err)
		}
		if n := g.Conns(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// Shutdown cuts off handshakes at once, whatever they wait for, and lets established connections finish.
func TestShutdownDuringHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := side{version: tls.VersionTLS13}
		server, client := tlstest.Configs(s.version)
		n := looptest.New(t, looptest.Config{})
		host, other := n.Host(), n.Host()
		g := host.NewGroup(loop.Config{Loops: 1})
		ln := must(g.Listen("tcp", host.Addr().String()+":443", func(*loop.Conn) loop.Handler { return tlsconn.Server(server, dataOnly{}) }))
		var peers []*looptest.Conn
		for i := range 3 {
			c := must(other.Dial("tcp", ln.Addr().String()))
			peers = append(peers, c)
			switch i {
			case 1:
				c.Write([]byte{22, 3, 1, 2, 0, 1, 0}) // the beginning of a ClientHello
			case 2:
				cut := &cutConn{Conn: c, left: 300, stop: true} // the ClientHello, and not the rest
				go tls.Client(cut, client).Handshake()
			}
		}
		settle()
		if n := g.Conns(); n != len(peers) {
			t.Fatalf("%d connections", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begun := time.Now()
		err := g.Shutdown(ctx)
		if took := time.Since(begun); err != nil || took > time.Second {
			t.Errorf("Shutdown took %v, and returned %v", took, err)
		}
		for i, c := range peers {
			if _, err := c.Read(make([]byte, 4096)); i < 2 && err == nil {
				t.Errorf("peer %d was not cut off", i)
			}
			c.Close()
		}
		if stats := tlsconn.StatsOf(g); stats.InProgress != 0 || stats.Waiting != 0 {
			t.Errorf("after Shutdown: %+v", stats)
		}
		settle() // cutConn's pause ends
	})
}
