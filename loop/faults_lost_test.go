package loop_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// boundaries are the sizes at which a write takes another path: the staging buffer, direct
// writes to the socket, blocks, watermarks, the size of a receive, the budget.
var boundaries = []int{1, 4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10}

// writer writes text in sizes around the boundaries, by one method or by all of them.
type writer struct {
	t      *testing.T
	way    string
	text   []byte
	at     int
	random *rand.Rand
	owned  atomic.Int64 // slices passed to WriteOwned whose done was not called yet
}

func (w *writer) done() bool { return w.at == len(w.text) }

// step makes one write.
func (w *writer) step(c *loop.Conn) {
	size := boundaries[w.random.IntN(len(boundaries))] + w.random.IntN(3) - 1
	if w.random.IntN(2) == 0 {
		size = w.random.IntN(2000)
	}
	b := w.text[w.at:min(w.at+size, len(w.text))]
	way := w.way
	if way == "mixed" {
		way = []string{"Write", "Writev", "WriteOwned"}[w.random.IntN(3)]
	}
	var n int
	var err error
	switch way {
	case "Write":
		mine := bytes.Clone(b)
		n, err = c.Write(mine)
		clear(mine)
	case "Writev":
		i, j := len(b)/3, len(b)/2
		mine := bytes.Clone(b)
		n, err = c.Writev([][]byte{mine[:i], nil, mine[i:j], mine[j:]})
		clear(mine)
	case "WriteOwned":
		mine := bytes.Clone(b)
		w.owned.Add(1)
		n, err = c.WriteOwned(mine, func(err error) {
			if err != nil {
				w.t.Errorf("done got %v, want nil", err)
			}
			clear(mine)
			w.owned.Add(-1)
		})
	}
	if n != len(b) || err != nil {
		w.t.Errorf("%s of %d bytes = %d, %v, want all written", way, len(b), n, err)
	}
	w.at += len(b)
}

// writeAllHandler is the handler of TestFaultNothingIsLost.
type writeAllHandler struct {
	w      *writer
	from   string
	finish func(c *loop.Conn)
	done   bool // finish was called
	closed chan error
}

func (h *writeAllHandler) Opened(c *loop.Conn) {
	all := func() {
		for !h.w.done() {
			h.w.step(c)
		}
		h.finish(c)
	}
	switch h.from {
	case "one callback":
		all()
	case "elsewhere":
		go all()
	case "the loop":
		var next func()
		next = func() {
			if h.w.done() {
				h.finish(c)
				return
			}
			h.w.step(c)
			c.Loop().Run(next)
		}
		c.Loop().Run(next)
	}
}

// Data answers each byte of a request with a write or two.
func (h *writeAllHandler) Data(c *loop.Conn, b []byte) (int, error) {
	for range b {
		if h.done {
			break
		}
		for range 1 + h.w.random.IntN(2) {
			h.w.step(c)
		}
		if h.w.done() {
			h.done = true
			h.finish(c)
		}
	}
	return len(b), nil
}

func (h *writeAllHandler) ReadClosed(c *loop.Conn)        { c.Close() }
func (h *writeAllHandler) Shutdown(c *loop.Conn)          { c.Close() }
func (h *writeAllHandler) Closed(_ *loop.Conn, why error) { h.closed <- why }
func (h *writeAllHandler) request(t *testing.T, c net.Conn) { // sends requests until the connection fails
	if h.from != "many callbacks" {
		return
	}
	go func() {
		for range 1 << 20 {
			if _, err := c.Write([]byte("?")); err != nil {
				return
			}
		}
	}()
}

// Every byte arrives, in order, then FIN: with each write method, from each kind of goroutine,
// through small buffers to a reader that stalls, and with each orderly way to end the connection.
func TestFaultNothingIsLost(t *testing.T) {
	const total = 2 << 20
	text := make([]byte, total)
	rand.NewChaCha8([32]byte{20}).Read(text)
	seed := uint64(0)
	for _, way := range []string{"Write", "Writev", "WriteOwned", "mixed"} {
		for _, from := range []string{"one callback", "many callbacks", "the loop", "elsewhere"} {
			for _, end := range []string{"Close", "CloseWrite", "Shutdown"} {
				for _, small := range []bool{true, false} {
					seed++
					w := &writer{way: way, text: text, random: rand.New(rand.NewPCG(20, seed))}
					name := way + " from " + from + ", then " + end
					if small {
						name += ", small buffers"
					}
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						w.t = t
						testNothingIsLost(t, w, from, end, small)
					})
				}
			}
		}
	}
}

func testNothingIsLost(t *testing.T, w *writer, from, end string, small bool) {
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	var options []sock.Option
	if small {
		options = append(options, sock.WriteBuffer(64<<10)) // smaller than a segment, TCP waits for its timers
	}
	l, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"), onNet(t, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	h := &writeAllHandler{w: w, from: from, closed: make(chan error, 2)}
	shut := make(chan error, 1)
	h.finish = map[string]func(*loop.Conn){
		"Close":      func(c *loop.Conn) { c.Close() },
		"CloseWrite": func(c *loop.Conn) { c.CloseWrite() },
		"Shutdown": func(*loop.Conn) {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
				defer cancel()
				shut <- g.Shutdown(ctx)
			}()
		},
	}[end]
	ln, err := g.Serve(l, func(*loop.Conn) loop.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, ln.Addr())
	h.request(t, c)
	stallingRead(t, c, w.text)
	c.Close()
	if why := receive(t, h.closed, "Closed"); why != nil && why != io.EOF {
		// Requests sent after the server had closed may reset the connection, after everything
		// had arrived.
		if from != "many callbacks" {
			t.Errorf("Closed got %v, want nil or EOF", why)
		}
	}
	if n := w.owned.Load(); n != 0 {
		t.Errorf("done was not called for %d slices of WriteOwned", n)
	}
	if end == "Shutdown" {
		if err := receive(t, shut, "Shutdown"); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	}
}

// stallingRead reads in odd sizes, stalls a few times, and compares.
func stallingRead(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	b := make([]byte, 77_777)
	at, stall := 0, 1000
	for {
		if at > stall {
			stall += len(want) / 4
			time.Sleep(10 * time.Millisecond) // the fault: meanwhile buffers fill
		}
		n, err := c.Read(b)
		if at+n > len(want) || !bytes.Equal(b[:n], want[at:at+n]) {
			t.Fatalf("read %d bytes at offset %d that differ from those written", n, at)
		}
		at += n
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("read failed after %d of %d bytes: %v", at, len(want), err)
		}
	}
	if at < len(want) {
		t.Fatalf("EOF after %d bytes, want %d", at, len(want))
	}
}
