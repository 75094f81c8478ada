package loop_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

func TestL2AfterClose(t *testing.T) {
	conns := make(chan *loop.Conn, 1)
	closed := make(chan error, 1)
	_, c := serve(t, loop.Config{}, func(c *loop.Conn) loop.Handler {
		conns <- c
		return &funcs{closed: func(_ *loop.Conn, why error) { closed <- why }}
	})
	s := receive(t, conns, "the connection")
	c.Close()
	receive(t, closed, "Closed")
	_, write := s.Write([]byte("x"))
	_, writev := s.Writev([][]byte{[]byte("x")})
	_, owned := s.WriteOwned([]byte("x"), func(error) { t.Error("done was called after WriteOwned failed") })
	for what, err := range map[string]error{
		"Write": write, "Writev": writev, "WriteOwned": owned, "Close": s.Close(), "CloseWrite": s.CloseWrite(),
		"Abort": s.Abort(), "Pause": s.Pause(), "Resume": s.Resume(), "SetHandler": s.SetHandler(echo{}),
		"SetIdleTimeout": s.SetIdleTimeout(1), "SetReadDeadline": s.SetReadDeadline(time.Now()),
		"Detach": s.Detach(func(net.Conn, []byte, error) {}),
	} {
		if !errors.Is(err, loop.ErrClosed) {
			t.Errorf("%s after Closed: got %v, want ErrClosed", what, err)
		}
	}
	if s.RemoteAddr().String() != c.LocalAddr().String() {
		t.Errorf("RemoteAddr() after Closed = %v, want %v", s.RemoteAddr(), c.LocalAddr())
	}
}

// Methods of one connection are called from many goroutines while it is used and closed.
func TestL2MethodsFromManyGoroutines(t *testing.T) {
	g := group(t, loop.Config{})
	for range 30 {
		conns := make(chan *loop.Conn, 1)
		closed := make(chan error, 1)
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler {
			conns <- c
			return &funcs{closed: func(_ *loop.Conn, why error) { closed <- why }}
		})
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, ln.Addr())
		go func() {
			io.Copy(io.Discard, c)
			c.Close()
		}()
		s := receive(t, conns, "the connection")
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				b := make([]byte, 1000)
				for j := range 200 {
					switch (i + j) % 7 {
					case 0:
						s.Pause()
					case 1:
						s.Resume()
					case 2:
						s.SetIdleTimeout(time.Hour)
					case 3:
						s.RemoteAddr()
						s.Unsent()
					default:
						s.Write(b)
					}
				}
				if i == 0 {
					s.Close()
				}
			})
		}
		wg.Wait()
		receive(t, closed, "Closed")
		ln.Close()
	}
}
