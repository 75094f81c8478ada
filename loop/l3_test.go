package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// Every byte arrives in order, then FIN, with every write method.
func TestL3NothingIsLost(t *testing.T) {
	const total = 16 << 20
	ways := map[string]func(c *loop.Conn, b []byte) (int, error){
		"Write": func(c *loop.Conn, b []byte) (int, error) { return c.Write(b) },
		"Writev": func(c *loop.Conn, b []byte) (int, error) {
			i, j := len(b)/3, len(b)/2
			return c.Writev([][]byte{b[:i], b[i:j], nil, b[j:]})
		},
		"WriteOwned": func(c *loop.Conn, b []byte) (int, error) {
			return c.WriteOwned(bytes.Clone(b), func(err error) {
				if err != nil {
					panic(err)
				}
			})
		},
	}
	ends := map[string]func(*loop.Conn){
		"Close":      func(c *loop.Conn) { c.Close() },
		"CloseWrite": func(c *loop.Conn) { c.CloseWrite() },
	}
	want := make([]byte, total)
	for i := range want {
		want[i] = byte(i>>8) ^ byte(i)
	}
	for way, write := range ways {
		for end, finish := range ends {
			for _, from := range []string{"the loop", "elsewhere"} {
				t.Run(way+" "+end+" from "+from, func(t *testing.T) {
					t.Parallel()
					send := func(c *loop.Conn) {
						sizes := rand.New(rand.NewPCG(1, uint64(len(way))))
						for sent := 0; sent < total; {
							n := min(1+sizes.IntN(1<<sizes.IntN(19)), total-sent)
							if _, err := write(c, want[sent:sent+n]); err != nil {
								t.Errorf("%s: %v", way, err)
								return
							}
							sent += n
						}
						finish(c)
					}
					_, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
						return &funcs{opened: func(c *loop.Conn) {
							if from == "the loop" {
								send(c)
							} else {
								go send(c)
							}
						}}
					})
					checkStream(t, c, want)
				})
			}
		}
	}
}

// checkStream reads in odd sizes, with pauses at first, and compares.
func checkStream(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, 0, len(want))
	b := make([]byte, 77_777)
	for {
		if len(got) < 200_000 {
			time.Sleep(time.Millisecond) // a reader that stalls
		}
		n, err := c.Read(b)
		got = append(got, b[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("read failed after %d bytes: %v", len(got), err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes, want %d, or the contents differ", len(got), len(want))
	}
}

func TestL3HardLimit(t *testing.T) {
	errs := make(chan error, 1)
	_, c := serve(t, loop.Config{MaxUnsentBytes: 1 << 20, HighWatermarkBytes: 1 << 19}, func(*loop.Conn) loop.Handler {
		return &funcs{opened: func(c *loop.Conn) {
			b := make([]byte, 300<<10)
			for {
				n, err := c.Write(b)
				if err != nil {
					if n != 0 {
						err = fmt.Errorf("accepted %d bytes of a failed write: %w", n, err)
					}
					errs <- err
					return
				}
			}
		}}
	})
	if err := receive(t, errs, "ErrBufferFull"); !errors.Is(err, loop.ErrBufferFull) || strings.Contains(err.Error(), "accepted") {
		t.Errorf("Write above MaxUnsentBytes: got %v, want ErrBufferFull and no bytes written", err)
	}
	_ = c
}

// The writes of one turn are sent together: one read of the peer gets them all.
func TestL3WritesAreSentTogether(t *testing.T) {
	_, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			for range 100 {
				c.Write([]byte("ten bytes!"))
			}
			return len(b), nil
		}}
	})
	b := make([]byte, 4096)
	for range 20 {
		c.Write([]byte("go"))
		if n, err := c.Read(b); n != 1000 || err != nil {
			t.Fatalf("Read = %d, %v, want the 1,000 bytes of one turn", n, err)
		}
	}
}

func TestL3CloseWithoutAReader(t *testing.T) {
	closed := make(chan error, 1)
	_, c := serve(t, loop.Config{LingerTimeout: 50 * time.Millisecond}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write(make([]byte, 32<<20)); c.Close() },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	if why := receive(t, closed, "Closed after LingerTimeout"); !errors.Is(why, loop.ErrLingerTimeout) {
		t.Errorf("Closed got %v, want ErrLingerTimeout", why)
	}
	_ = c
}

// A peer that reads slowly, and for much longer than LingerTimeout, gets everything.
func TestL3CloseWithASlowReader(t *testing.T) { simulated(t, testCloseWithASlowReader) }

func testCloseWithASlowReader(t *testing.T) {
	const total = 24 << 20
	closed := make(chan error, 1)
	_, c := serve(t, loop.Config{LingerTimeout: 800 * time.Millisecond, MaxLinger: time.Hour}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write(make([]byte, total)); c.Close() },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.SetReadDeadline(time.Time{})
	b := make([]byte, 256<<10)
	got := 0
	for {
		n, err := io.ReadFull(c, b)
		if got += n; err != nil {
			if got != total {
				t.Errorf("the peer read %d of %d bytes, then: %v", got, total, err)
			}
			break
		}
		time.Sleep(700 * time.Millisecond)
	}
	c.Close()
	if why := receive(t, closed, "Closed"); why != nil {
		t.Errorf("Closed got %v, want nil", why)
	}
}

// A peer that reads steadily, but so little that the socket does not become writable for longer
// than LingerTimeout, does not count as one that reads nothing.
func TestL3CloseWithAVerySlowReader(t *testing.T) { simulated(t, testCloseWithAVerySlowReader) }

func testCloseWithAVerySlowReader(t *testing.T) {
	const total = 1 << 20
	config := loop.Config{LingerTimeout: 600 * time.Millisecond}
	_, c := serve(t, config, func(*loop.Conn) loop.Handler {
		return &funcs{opened: func(c *loop.Conn) {
			c.SetWriteBuffer(4 << 20) // up to the limit; it is writable when a third is free
			c.Write(make([]byte, total))
			c.Close()
		}}
	})
	b := make([]byte, 16<<10)
	for got := 0; got < total; {
		n, err := c.Read(b)
		if got += n; err != nil {
			t.Fatalf("the peer read %d of %d bytes, then: %v", got, total, err)
		}
		time.Sleep(150 * time.Millisecond) // the pace of the peer: a third of the buffer takes more than a second
	}
}

// A connection cut off by LingerTimeout is reset, and both sides get an error, even if the peer
// has half-closed: a FIN would mean that nothing is missing.
func TestL3LingerTimeoutResets(t *testing.T) {
	testkit.SkipOnWine(t, "after a reset it may report EOF")
	closed := make(chan error, 1)
	config := loop.Config{LingerTimeout: 50 * time.Millisecond, HighWatermarkBytes: 40 << 20} // so that reading goes on to EOF
	_, c := serve(t, config, func(*loop.Conn) loop.Handler {
		return &funcs{
			data:   func(c *loop.Conn, b []byte) (int, error) { c.Write(make([]byte, 32<<20)); return len(b), nil },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.Write([]byte("x"))
	c.CloseWrite()
	if why := receive(t, closed, "Closed after LingerTimeout"); !errors.Is(why, loop.ErrLingerTimeout) {
		t.Errorf("Closed got %v, want ErrLingerTimeout", why)
	}
	c.SetReadDeadline(time.Now().Add(testTimeout))
	if n, err := io.Copy(io.Discard, c); err == nil || isTimeout(err) {
		t.Errorf("the peer read %d bytes, then got %v, want a reset", n, err)
	}
}

func TestL3AbortResets(t *testing.T) {
	testkit.SkipOnWine(t, "after a reset it may report EOF")
	closed := make(chan error, 1)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				c.Write(make([]byte, 32<<20))
				c.Abort()
				return len(b), nil
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.Write([]byte("x"))
	if why := receive(t, closed, "Closed"); !errors.Is(why, loop.ErrAborted) {
		t.Errorf("Closed got %v, want ErrAborted", why)
	}
	if _, err := io.Copy(io.Discard, c); err == nil {
		t.Error("the peer got EOF, want a reset")
	}
}

// Everything that cuts off a connection with unsent bytes resets it: after a FIN the peer would
// assume that it has everything.
func TestCutOffResets(t *testing.T) {
	testkit.SkipOnWine(t, "after a reset it may report EOF")
	big := make([]byte, 32<<20)
	for what, x := range map[string]struct {
		config loop.Config
		cut    func(g *loop.Group, c *loop.Conn)
	}{
		"Shutdown":          {cut: func(g *loop.Group, _ *loop.Conn) { go g.Shutdown(canceledContext()) }},
		"the idle timeout":  {config: loop.Config{IdleTimeout: 50 * time.Millisecond}},
		"the write timeout": {config: loop.Config{WriteTimeout: 50 * time.Millisecond}},
		// Back-pressure would suspend the deadline.
		"the read deadline": {config: loop.Config{HighWatermarkBytes: 40 << 20}, cut: func(_ *loop.Group, c *loop.Conn) {
			c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		}},
	} {
		t.Run(what, func(t *testing.T) {
			conns, closed := make(chan *loop.Conn, 1), make(chan error, 1)
			g, c := serve(t, x.config, func(*loop.Conn) loop.Handler {
				return &funcs{
					opened: func(c *loop.Conn) { c.Write(big); conns <- c },
					closed: func(_ *loop.Conn, why error) { closed <- why },
				}
			})
			conn := receive(t, conns, "the connection")
			if x.cut != nil {
				x.cut(g, conn)
			}
			receive(t, closed, "Closed")
			c.SetReadDeadline(time.Now().Add(testTimeout))
			if n, err := io.Copy(io.Discard, c); err == nil || isTimeout(err) {
				t.Errorf("the peer read %d bytes, then got %v, want a reset", n, err)
			}
		})
	}
}

// Bytes that arrive after Close are received and dropped, even while more than the high watermark
// is unsent: a peer that writes before it reads on does not block.
func TestL3CloseAboveTheWatermarkReads(t *testing.T) {
	closed := make(chan error, 1)
	const total = 32 << 20
	_, c := serve(t, loop.Config{HighWatermarkBytes: 64 << 10}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write(make([]byte, total)); c.Close() },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	if _, err := io.ReadFull(c, make([]byte, total/2)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Write(make([]byte, total)); err != nil {
		t.Fatalf("the peer's write failed after %d bytes: %v", n, err)
	}
	n, err := io.Copy(io.Discard, c)
	if n != total/2 || err != nil {
		t.Errorf("the peer read %d bytes, %v, want %d", n, err, total/2)
	}
	c.Close()
	receive(t, closed, "Closed")
}

// A reset that a large write encounters, one that bypasses the queue, is the reason, and is not
// reported as EOF.
func TestL3LargeWriteAfterReset(t *testing.T) {
	why := resetDuringData(t, func(c *loop.Conn) error {
		c.Write(make([]byte, 100<<10))
		return nil
	})
	if !errors.Is(why, syscall.ECONNRESET) {
		t.Errorf("Closed got %v, want ECONNRESET", why)
	}
}

// resetDuringData resets a connection from the peer while Data runs, which then calls act and
// returns its error. It returns the error that Closed gets. ReadClosed must not be called.
func resetDuringData(t *testing.T, act func(c *loop.Conn) error) error {
	t.Helper()
	called, reset, closed := make(chan bool), make(chan bool), make(chan error, 1)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				close(called)
				<-reset
				return len(b), act(c)
			},
			readClosed: func(c *loop.Conn) {
				t.Error("ReadClosed was called after a reset")
				c.Close()
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.Write([]byte("hello"))
	receive(t, called, "Data")
	c.SetLinger(0)
	c.Close()
	close(reset)
	return receive(t, closed, "Closed")
}

// noReadClosedHandler is a handler without ReadClosed.
type noReadClosedHandler struct {
	opened func(*loop.Conn)
	closed func(*loop.Conn, error)
}

func (noReadClosedHandler) Data(c *loop.Conn, b []byte) (int, error) { return len(b), nil }
func (h noReadClosedHandler) Opened(c *loop.Conn)                    { h.opened(c) }

func (h noReadClosedHandler) Closed(c *loop.Conn, why error) { h.closed(c, why) }

// The peer half-closes, and then resets before it has everything: Closed gets an error.
func TestL3ResetAfterHalfClose(t *testing.T) {
	conns, closed, done := make(chan *loop.Conn, 1), make(chan error, 1), make(chan error, 1)
	_, c := serve(t, loop.Config{HighWatermarkBytes: 64 << 20}, func(*loop.Conn) loop.Handler {
		return noReadClosedHandler{
			opened: func(c *loop.Conn) {
				conns <- c
				c.Write(make([]byte, 32<<20))
				c.WriteOwned([]byte("last"), func(err error) { done <- err })
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	io.ReadFull(c, make([]byte, 1000))
	c.CloseWrite()
	waitTurns(t, receive(t, conns, "the connection")) // the end of receiving is known
	c.SetLinger(0)
	c.Close()
	if err := receive(t, done, "done"); err == nil {
		t.Error("done got nil for bytes that were lost")
	}
	if why := receive(t, closed, "Closed"); errors.Is(why, io.EOF) || why == nil {
		t.Errorf("Closed got %v, want an error other than EOF: 32 MiB were lost", why)
	}
}

// Bytes written before the accept function returns nil are sent.
func TestL3WriteWithoutHandler(t *testing.T) {
	_, c := serve(t, loop.Config{Logger: quiet()}, func(c *loop.Conn) loop.Handler {
		c.Write([]byte("busy\n"))
		return nil
	})
	b, err := io.ReadAll(c)
	if string(b) != "busy\n" || err != nil {
		t.Errorf("the peer read %q, %v, want busy", b, err)
	}
}

// The same on a dialed connection: Dial returns an error.
func TestL3WriteWithoutHandlerDialed(t *testing.T) {
	ln, err := listenNet(t, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	g := group(t, loop.Config{Logger: quiet()})
	got := make(chan string, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			got <- err.Error()
			return
		}
		b, err := io.ReadAll(c)
		got <- fmt.Sprint(string(b), err)
		c.Close()
	}()
	c, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), func(c *loop.Conn) loop.Handler {
		c.Write([]byte("bye "))
		return nil
	})
	if c != nil || err == nil {
		t.Errorf("Dial = %v, %v, want an error", c, err)
	}
	if s := receive(t, got, "the bytes"); s != "bye <nil>" {
		t.Errorf("the peer read %q, want bye <nil>", s)
	}
}

// A reset is reported as such, whatever the handler does before it is detected.
func TestL3ResetIsTheReason(t *testing.T) {
	testkit.SkipOnWine(t, "a reset may be reported as EOF there")
	for what, act := range map[string]func(c *loop.Conn) error{
		"nothing":     func(*loop.Conn) error { return nil },
		"Close":       func(c *loop.Conn) error { return c.Close() },
		"CloseWrite":  func(c *loop.Conn) error { return c.CloseWrite() },
		"small write": func(c *loop.Conn) error { c.Write([]byte("x")); return nil },
		"write, Close": func(c *loop.Conn) error {
			c.Write([]byte("x"))
			return c.Close()
		},
		"large write, Close": func(c *loop.Conn) error {
			c.Write(make([]byte, 100<<10))
			return c.Close()
		},
		"Pause, Resume": func(c *loop.Conn) error {
			c.Loop().AfterFunc(20*time.Millisecond, func() { c.Resume() })
			return c.Pause()
		},
		"Pause, CloseWrite": func(c *loop.Conn) error {
			c.Pause()
			return c.CloseWrite()
		},
		"error": func(*loop.Conn) error { return io.ErrUnexpectedEOF },
	} {
		t.Run(what, func(t *testing.T) {
			why := resetDuringData(t, act)
			ok := errors.Is(why, syscall.ECONNRESET)
			switch what {
			case "Close":
				ok = ok || why == nil
			case "error":
				ok = why == io.ErrUnexpectedEOF
			}
			if !ok {
				t.Errorf("Closed got %v, want the reset, or the error of Data", why)
			}
		})
	}
}

// Bytes written without a handler to a peer that has sent something itself: it reads them and
// then EOF, not a reset, which might discard them.
func TestL3WriteWithoutHandlerToPeerThatSends(t *testing.T) {
	for _, n := range []int{10, 100 << 10} {
		hold := make(chan bool)
		_, c := serve(t, loop.Config{Loops: 1, Logger: quiet()}, func(c *loop.Conn) loop.Handler {
			<-hold // until the peer's bytes have arrived
			c.Write(make([]byte, n))
			return nil
		})
		c.Write([]byte("hello"))
		close(hold)
		got, err := io.ReadAll(c)
		if len(got) != n || err != nil {
			t.Errorf("the peer read %d bytes of %d, then %v, want EOF", len(got), n, err)
		}
		c.Close()
	}
}

// Data pauses and returns an error: the peer's FIN is still awaited, and detected.
func TestL3DataPausesAndFails(t *testing.T) {
	failed, closed := errors.New("no"), make(chan error, 1)
	_, peer := serve(t, loop.Config{LingerTimeout: 10 * testTimeout}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				c.Pause()
				return len(b), failed
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	peer.Write([]byte("hello"))
	if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("the peer read %d bytes, %v, want EOF", n, err)
	}
	peer.CloseWrite()
	if why := receive(t, closed, "Closed"); !errors.Is(why, failed) {
		t.Errorf("Closed got %v, want the error of Data", why)
	}
}

// Data returns an error, and then the unsent bytes cannot be sent: Closed gets both errors.
func TestL3DataFailsAndThenSending(t *testing.T) {
	failed := errors.New("no")
	for what, x := range map[string]struct {
		linger time.Duration
		cut    func(g *loop.Group, c *loop.Conn, peer tcpConn)
		want   error
	}{
		"linger":   {50 * time.Millisecond, func(*loop.Group, *loop.Conn, tcpConn) {}, loop.ErrLingerTimeout},
		"Abort":    {testTimeout, func(_ *loop.Group, c *loop.Conn, _ tcpConn) { c.Abort() }, loop.ErrAborted},
		"Shutdown": {testTimeout, func(g *loop.Group, _ *loop.Conn, _ tcpConn) { g.Shutdown(canceledContext()) }, loop.ErrShutdown},
		"reset":    {testTimeout, func(_ *loop.Group, _ *loop.Conn, peer tcpConn) { peer.SetLinger(0); peer.Close() }, syscall.ECONNRESET},
	} {
		t.Run(what, func(t *testing.T) {
			conns, closed := make(chan *loop.Conn, 1), make(chan error, 1)
			g, peer := serve(t, loop.Config{LingerTimeout: x.linger}, func(*loop.Conn) loop.Handler {
				return &funcs{
					data: func(c *loop.Conn, b []byte) (int, error) {
						c.Write(make([]byte, 32<<20))
						conns <- c
						return len(b), failed
					},
					closed: func(_ *loop.Conn, why error) { closed <- why },
				}
			})
			peer.Write([]byte("hello"))
			x.cut(g, receive(t, conns, "Data"), peer)
			if why := receive(t, closed, "Closed"); !errors.Is(why, failed) || !errors.Is(why, x.want) {
				t.Errorf("Closed got %v, want the error of Data and %v", why, x.want)
			} else {
				t.Log(why)
			}
		})
	}
}

// canceledContext returns a canceled context.
func canceledContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Abort drops the bytes that the same callback has written.
func TestL3AbortDropsWhatWasWritten(t *testing.T) {
	testkit.SkipOnWine(t, "after a reset it may report EOF")
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			c.Write(make([]byte, 1000))
			c.Abort()
			return len(b), nil
		}}
	})
	c.Write([]byte("x"))
	if b, err := io.ReadAll(c); len(b) > 0 || err == nil {
		t.Errorf("the peer read %d bytes, then got %v, want 0 and a reset", len(b), err)
	}
}
