package loop_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// WriteOwned without done, with an empty slice, and with one slice on several connections.
func TestL3WriteOwnedSpecialCases(t *testing.T) {
	const n = 4
	big := bytes.Repeat([]byte("shared"), 300_000)
	done := make(chan error, 4*n)
	order := make(chan string, 4*n)
	g := group(t, loop.Config{Loops: 2})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				c.WriteOwned(big, func(err error) { order <- "big"; done <- err })
				c.WriteOwned(nil, func(err error) { order <- "empty"; done <- err })
				c.WriteOwned([]byte("end"), nil)
				clear(b) // Data may change it
				return len(b), c.Close()
			},
			closed: func(_ *loop.Conn, why error) { order <- "closed"; done <- why },
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := append(bytes.Clone(big), "end"...)
	for range n {
		c := dial(t, ln.Addr())
		c.Write([]byte("hello"))
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("the peer read %d bytes, %v, want %d equal bytes", len(got), err, len(want))
		}
		c.Close()
		for _, what := range []string{"big", "empty", "closed"} {
			if got := receive(t, order, what); got != what {
				t.Errorf("got callback %s, want %s", got, what)
			}
			if err := receive(t, done, what); err != nil {
				t.Errorf("callback %s got %v, want nil", what, err)
			}
		}
	}
}
