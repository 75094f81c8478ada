package loop_test

import (
	"testing"

	"github.com/pollux-io/pollux/internal/driver/layertest"
	"github.com/pollux-io/pollux/loop"
)

// Close, called on the loop or on another goroutine, takes precedence over bytes that have arrived
// meanwhile: Data is not called, and Closed gets nil.
func TestCloseComesBeforeData(t *testing.T) {
	for _, onLoop := range []bool{true, false} {
		opened, closed := make(chan *loop.Conn, 1), make(chan error, 1)
		g, p := serve(t, loop.Config{Loops: 1, SlowCallback: -1}, func(*loop.Conn) loop.Handler {
			return &funcs{
				opened: func(c *loop.Conn) { opened <- c },
				data:   func(c *loop.Conn, b []byte) (int, error) { t.Errorf("Data(%q) after Close", b); return c.Write(b) },
				closed: func(_ *loop.Conn, why error) { closed <- why },
			}
		})
		c := receive(t, opened, "Opened")
		busy, release := make(chan bool), make(chan bool)
		g.Loops()[0].Run(func() {
			close(busy)
			<-release
			if onLoop {
				c.Close()
			}
		})
		<-busy
		p.Write([]byte("more"))
		waitDelivered(t, p)
		if !onLoop {
			c.Close()
		}
		close(release)
		go func() {
			p.Read(make([]byte, 1)) // EOF
			p.Close()
		}()
		if why := receive(t, closed, "Closed"); why != nil {
			t.Errorf("Closed got %v, want nil after Close", why)
		}
	}
}

// A callback ends, pauses or changes another connection that has data in the same batch: the data
// is not delivered to that connection's old state.
func TestConnChangedByAnotherInTheSameBatch(t *testing.T) {
	for how, change := range changesOfAnother {
		t.Run(how, func(t *testing.T) { testChangedByAnother(t, change, func(h loop.Handler) loop.Handler { return h }) })
	}
}

// The same if a layer has held the data back, and is about to deliver it.
func TestLayerOfAConnChangedByAnother(t *testing.T) {
	for how, change := range changesOfAnother {
		t.Run(how, func(t *testing.T) {
			seed := uint64(0)
			for range 32 { // one layer of the two holds back its byte, in some of them
				testChangedByAnother(t, change, func(h loop.Handler) loop.Handler {
					seed++
					return &withLayer{Handler: h, options: layertest.Options{Seed: seed, Adverse: true}}
				})
			}
		})
	}
}

var changesOfAnother = map[string]func(*loop.Conn) error{
	"Close": (*loop.Conn).Close, "Abort": (*loop.Conn).Abort, "Pause": (*loop.Conn).Pause,
	"SetHandler": func(c *loop.Conn) error { return c.SetHandler(&funcs{}) },
}

// testChangedByAnother has two connections receive a byte in the same turn: the first Data changes the other one.
func testChangedByAnother(t *testing.T, change func(*loop.Conn) error, wrap func(loop.Handler) loop.Handler) {
	t.Helper()
	g := group(t, loop.Config{Loops: 1, SlowCallback: -1})
	var conns []*loop.Conn
	var other *loop.Conn
	opened, first := make(chan bool, 2), make(chan bool, 1)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler {
		conns = append(conns, c)
		return wrap(&funcs{opened: func(*loop.Conn) { opened <- true }, data: func(c *loop.Conn, b []byte) (int, error) {
			switch other {
			case c:
				t.Error("Data was called after the change had returned on the same goroutine")
			case nil:
				other = conns[0]
				if c == other {
					other = conns[1]
				}
				if err := change(other); err != nil {
					t.Error(err)
				}
				first <- true
			}
			return len(b), nil
		}})
	})
	if err != nil {
		t.Fatal(err)
	}
	a, b := dial(t, ln.Addr()), dial(t, ln.Addr())
	receive(t, opened, "a connection")
	receive(t, opened, "a connection")
	busy, release := make(chan bool), make(chan bool)
	g.Loops()[0].Run(func() { close(busy); <-release })
	<-busy
	a.Write([]byte("a"))
	b.Write([]byte("b"))
	waitDelivered(t, a)
	waitDelivered(t, b)
	close(release)
	receive(t, first, "the first Data")
	waitTurns(t, conns[0])
}
