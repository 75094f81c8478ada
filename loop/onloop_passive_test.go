package loop_test

import (
	"testing"

	"github.com/pollux-io/pollux/internal/passive"
	"github.com/pollux-io/pollux/loop"
)

// asking is a handler whose Data sends on what OnLoop returns there, and elsewhere meanwhile.
type asking struct{ got chan [2]bool }

func (a asking) Data(c *loop.Conn, b []byte) (int, error) {
	elsewhere := make(chan bool)
	go func() { elsewhere <- c.Loop().OnLoop() }()
	a.got <- [2]bool{c.Loop().OnLoop(), <-elsewhere}
	return len(b), nil
}

type passiveAsking struct{ asking }

func (passiveAsking) Passive() {}

var _ passive.Handler = passiveAsking{}

// In a callback OnLoop is true, and false in other goroutines. That a passive handler does not ask is relied upon: so the
// calling goroutine need not be identified while its callbacks run.
func TestOnLoopBelievesPassiveHandlers(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	got := make(chan [2]bool, 2)
	for h, want := range map[loop.Handler][2]bool{asking{got}: {true, false}, passiveAsking{asking{got}}: {false, false}} {
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return h })
		if err != nil {
			t.Fatal(err)
		}
		c, err := dialNet(t, "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("?"))
		if is := receive(t, got, "Data"); is != want {
			t.Errorf("%T: OnLoop is %v in the callback and elsewhere, want %v", h, is, want)
		}
		c.Close()
		ln.Close()
	}
}
