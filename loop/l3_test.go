package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// Number 20 of the faults: every byte in order, then FIN, through every way to write.
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
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes came of %d, or in another order", len(got), len(want))
	}
}

func TestL3HardLimit(t *testing.T) {
	errs := make(chan error, 1)
	_, c := serve(t, loop.Config{MaxUnsent: 1 << 20, HighWatermark: 1 << 19}, func(*loop.Conn) loop.Handler {
		return &funcs{opened: func(c *loop.Conn) {
			b := make([]byte, 300<<10)
			for {
				n, err := c.Write(b)
				if err != nil {
					if n != 0 {
						err = fmt.Errorf("took %d of a write that it refused: %w", n, err)
					}
					errs <- err
					return
				}
			}
		}}
	})
	if err := receive(t, errs, "ErrBufferFull"); !errors.Is(err, loop.ErrBufferFull) || strings.Contains(err.Error(), "took") {
		t.Errorf("Write past the limit: %v", err)
	}
	_ = c
}

// Writes of one turn go out together: a reader that comes later sees them whole.
func TestL3WritesGoOutTogether(t *testing.T) {
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
			t.Fatalf("Read = %d, %v, want the 1,000 bytes of one turn at once", n, err)
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
	if why := receive(t, closed, "the end of lingering"); !errors.Is(why, loop.ErrLingerTimeout) {
		t.Errorf("the reason is %v, want ErrLingerTimeout", why)
	}
	_ = c
}

// Who reads slowly, and much longer than LingerTimeout, gets everything.
func TestL3CloseWithASlowReader(t *testing.T) {
	const total = 24 << 20
	closed := make(chan error, 1)
	_, c := serve(t, loop.Config{LingerTimeout: 800 * time.Millisecond}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write(make([]byte, total)); c.Close() },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	b := make([]byte, 256<<10)
	got := 0
	for {
		c.SetReadDeadline(time.Now().Add(testTimeout))
		n, err := io.ReadFull(c, b)
		if got += n; err != nil {
			if got != total {
				t.Errorf("%d of %d bytes came, then: %v", got, total, err)
			}
			break
		}
		time.Sleep(25 * time.Millisecond)
	}
	c.Close()
	if why := receive(t, closed, "Closed"); why != nil {
		t.Errorf("Closed(%v)", why)
	}
}

// Who reads steadily, and so little that the system does not tell of room for longer than
// LingerTimeout, is not taken for one that reads nothing.
func TestL3CloseWithAVerySlowReader(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: not every system tells how much the peer has acknowledged")
	}
	const total = 8 << 20
	_, c := serve(t, loop.Config{LingerTimeout: 600 * time.Millisecond}, func(*loop.Conn) loop.Handler {
		return &funcs{opened: func(c *loop.Conn) { c.Write(make([]byte, total)); c.Close() }}
	})
	b := make([]byte, 16<<10)
	got := 0
	for end := time.Now().Add(2 * time.Second); got < total; {
		c.SetReadDeadline(time.Now().Add(testTimeout))
		n, err := c.Read(b)
		if got += n; err != nil {
			t.Fatalf("%d of %d bytes came, then: %v", got, total, err)
		}
		if time.Now().Before(end) {
			time.Sleep(15 * time.Millisecond)
		}
	}
}

// What is cut off is reset, and both sides learn it, also if the peer has ended its side:
// a clean end would say that nothing is missing.
func TestL3CutOffIsNoEnd(t *testing.T) {
	skipOnWine(t, "after a reset it may tell the end of the stream")
	closed := make(chan error, 1)
	config := loop.Config{LingerTimeout: 50 * time.Millisecond, HighWatermark: 40 << 20} // so that the end is seen
	_, c := serve(t, config, func(*loop.Conn) loop.Handler {
		return &funcs{
			data:   func(c *loop.Conn, b []byte) (int, error) { c.Write(make([]byte, 32<<20)); return len(b), nil },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.Write([]byte("x"))
	c.CloseWrite()
	if why := receive(t, closed, "the end of lingering"); !errors.Is(why, loop.ErrLingerTimeout) {
		t.Errorf("the reason is %v, want ErrLingerTimeout", why)
	}
	c.SetReadDeadline(time.Now().Add(testTimeout))
	if n, err := io.Copy(io.Discard, c); err == nil || isTimeout(err) {
		t.Errorf("the peer read %d bytes, and then: %v", n, err)
	}
}

func TestL3AbortResets(t *testing.T) {
	skipOnWine(t, "after a reset it may tell the end of the stream")
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
		t.Errorf("the reason is %v, want ErrAborted", why)
	}
	if _, err := io.Copy(io.Discard, c); err == nil {
		t.Error("the peer saw an orderly end")
	}
}

// Whatever cuts a connection off that has something left to be sent resets it: at a clean
// end the peer would think that it has everything.
func TestCutOffIsAReset(t *testing.T) {
	skipOnWine(t, "after a reset it may tell the end of the stream")
	big := make([]byte, 32<<20)
	for what, x := range map[string]struct {
		config loop.Config
		cut    func(g *loop.Group, c *loop.Conn)
	}{
		"Shutdown":          {cut: func(g *loop.Group, _ *loop.Conn) { go g.Shutdown(canceledContext()) }},
		"the idle timeout":  {config: loop.Config{IdleTimeout: 50 * time.Millisecond}},
		"the write timeout": {config: loop.Config{WriteTimeout: 50 * time.Millisecond}},
		// Back-pressure would have it stand still.
		"the read deadline": {config: loop.Config{HighWatermark: 40 << 20}, cut: func(_ *loop.Group, c *loop.Conn) {
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
				t.Errorf("the peer read %d bytes, and then: %v", n, err)
			}
		})
	}
}

// What comes after Close is received and dropped, also while more than the high watermark
// is left to be sent: a peer that writes before it reads on is not stuck.
func TestL3CloseAboveTheWatermarkReads(t *testing.T) {
	closed := make(chan error, 1)
	const total = 32 << 20
	_, c := serve(t, loop.Config{HighWatermark: 64 << 10}, func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(c *loop.Conn) { c.Write(make([]byte, total)); c.Close() },
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	if _, err := io.ReadFull(c, make([]byte, total/2)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // Sent has come
	if n, err := c.Write(make([]byte, total)); err != nil {
		t.Fatalf("after %d bytes: %v", n, err)
	}
	n, err := io.Copy(io.Discard, c)
	if n != total/2 || err != nil {
		t.Errorf("%d of %d bytes: %v", n, total/2, err)
	}
	c.Close()
	receive(t, closed, "Closed")
}

// A reset that a large write finds, one past the queue, is the reason, and no end of the stream.
func TestL3LargeWriteFindsTheReset(t *testing.T) {
	why := resetDuringData(t, func(c *loop.Conn) error {
		c.Write(make([]byte, 100<<10))
		return nil
	})
	if !errors.Is(why, syscall.ECONNRESET) {
		t.Errorf("Closed got %v", why)
	}
}

// resetDuringData has the peer reset a connection while Data runs, which then does act and
// returns its error, and returns what Closed gets. ReadClosed must not come.
func resetDuringData(t *testing.T, act func(c *loop.Conn) error) error {
	t.Helper()
	in, gone, closed := make(chan bool), make(chan bool), make(chan error, 1)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				close(in)
				<-gone
				return len(b), act(c)
			},
			readClosed: func(c *loop.Conn) {
				t.Error("ReadClosed was called, of a stream that was reset")
				c.Close()
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	c.Write([]byte("hello"))
	receive(t, in, "Data")
	c.SetLinger(0)
	c.Close()
	close(gone)
	return receive(t, closed, "Closed")
}

type noReadClosedHandler struct {
	opened func(*loop.Conn)
	closed func(*loop.Conn, error)
}

func (noReadClosedHandler) Data(c *loop.Conn, b []byte) (int, error) { return len(b), nil }
func (h noReadClosedHandler) Opened(c *loop.Conn)                    { h.opened(c) }

func (h noReadClosedHandler) Closed(c *loop.Conn, why error) { h.closed(c, why) }

// The peer ends its side, and then resets before it has everything: that is no clean end.
func TestL3ResetAfterTheEnd(t *testing.T) {
	closed, done := make(chan error, 1), make(chan error, 1)
	_, c := serve(t, loop.Config{HighWatermark: 64 << 20}, func(*loop.Conn) loop.Handler {
		return noReadClosedHandler{
			opened: func(c *loop.Conn) {
				c.Write(make([]byte, 32<<20))
				c.WriteOwned([]byte("last"), func(err error) { done <- err })
			},
			closed: func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	io.ReadFull(c, make([]byte, 1000))
	c.CloseWrite()
	time.Sleep(100 * time.Millisecond)
	c.SetLinger(0)
	c.Close()
	if err := receive(t, done, "done"); err == nil {
		t.Error("what was lost is told as sent")
	}
	if why := receive(t, closed, "Closed"); errors.Is(why, io.EOF) || why == nil {
		t.Errorf("32 MiB were lost, and Closed got %v", why)
	}
}

// What was written before accept returns nil is sent.
func TestL3LastWords(t *testing.T) {
	_, c := serve(t, loop.Config{Logger: quiet()}, func(c *loop.Conn) loop.Handler {
		c.Write([]byte("busy\n"))
		return nil
	})
	b, err := io.ReadAll(c)
	if string(b) != "busy\n" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// So it is on a connection that was dialed, and Dial fails.
func TestL3LastWordsDialed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	g := group(t, loop.Config{Logger: quiet()})
	words := make(chan string, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			words <- err.Error()
			return
		}
		b, err := io.ReadAll(c)
		words <- fmt.Sprint(string(b), err)
		c.Close()
	}()
	c, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), func(c *loop.Conn) loop.Handler {
		c.Write([]byte("bye "))
		return nil
	})
	if c != nil || err == nil {
		t.Errorf("Dial = %v, %v", c, err)
	}
	if w := receive(t, words, "the words"); w != "bye <nil>" {
		t.Error(w)
	}
}

// A reset is told as one, whatever the handler does before it is found.
func TestL3ResetIsTheReason(t *testing.T) {
	skipOnWine(t, "a reset there may look like an end")
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
				t.Errorf("Closed got %v", why)
			}
		})
	}
}

// Last words to a peer that has said something itself: it gets them, and then the end, not
// a reset, which might overtake them.
func TestL3LastWordsToOneThatTalks(t *testing.T) {
	for _, n := range []int{10, 100 << 10} {
		hold := make(chan bool)
		_, c := serve(t, loop.Config{Loops: 1, Logger: quiet()}, func(c *loop.Conn) loop.Handler {
			<-hold // until what the peer says is there
			c.Write(make([]byte, n))
			return nil
		})
		c.Write([]byte("hello"))
		close(hold)
		got, err := io.ReadAll(c)
		if len(got) != n || err != nil {
			t.Errorf("%d bytes of %d, then %v", len(got), n, err)
		}
		c.Close()
	}
}

// Data pauses, and fails: the peer's end is awaited all the same, and seen when it comes.
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
		t.Fatalf("%d, %v", n, err)
	}
	peer.CloseWrite()
	if why := receive(t, closed, "Closed"); !errors.Is(why, failed) {
		t.Errorf("the reason is %v", why)
	}
}

// Data fails, and then what is left cannot be sent: both are told.
func TestL3DataFailsAndThenSending(t *testing.T) {
	failed := errors.New("no")
	for what, x := range map[string]struct {
		linger time.Duration
		cut    func(g *loop.Group, c *loop.Conn, peer *net.TCPConn)
		want   error
	}{
		"linger":   {50 * time.Millisecond, func(*loop.Group, *loop.Conn, *net.TCPConn) {}, loop.ErrLingerTimeout},
		"Abort":    {testTimeout, func(_ *loop.Group, c *loop.Conn, _ *net.TCPConn) { c.Abort() }, loop.ErrAborted},
		"Shutdown": {testTimeout, func(g *loop.Group, _ *loop.Conn, _ *net.TCPConn) { g.Shutdown(canceledContext()) }, loop.ErrShutdown},
		"reset":    {testTimeout, func(_ *loop.Group, _ *loop.Conn, peer *net.TCPConn) { peer.SetLinger(0); peer.Close() }, syscall.ECONNRESET},
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
				t.Errorf("the reason is %v", why)
			} else {
				t.Log(why)
			}
		})
	}
}

// canceledContext returns a context that has ended.
func canceledContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Abort drops what the same callback has written.
func TestL3AbortDropsWhatWasWritten(t *testing.T) {
	skipOnWine(t, "after a reset it may tell the end of the stream")
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(c *loop.Conn, b []byte) (int, error) {
			c.Write(make([]byte, 1000))
			c.Abort()
			return len(b), nil
		}}
	})
	c.Write([]byte("x"))
	if b, err := io.ReadAll(c); len(b) > 0 || err == nil {
		t.Errorf("%d bytes came, then %v", len(b), err)
	}
}
