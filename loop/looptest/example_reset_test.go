package looptest_test

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// upload counts in open the uploads that are in progress, and in done the complete ones.
type upload struct {
	open, done *int
	left       int // bytes
	closed     chan error
}

func (u *upload) Opened(*loop.Conn) { *u.open++ }

func (u *upload) Data(c *loop.Conn, b []byte) (int, error) {
	n := min(len(b), u.left)
	if u.left -= n; u.left == 0 {
		*u.done++
		c.Write([]byte("stored"))
	}
	return n, nil
}

func (u *upload) Closed(_ *loop.Conn, why error) {
	*u.open--
	u.closed <- why
}

// testResetAtEveryByte resets the connection after each byte of an upload. Afterwards the handler has
// released what it held, and Closed got the reason.
func testResetAtEveryByte(t *testing.T) {
	body := "the whole of it"
	synctest.Test(t, func(t *testing.T) {
		for cut := range len(body) + 1 {
			open, done := 0, 0
			closed := make(chan error, 1)
			peer := looptest.Pipe(t, func(*loop.Conn) loop.Handler {
				return &upload{open: &open, done: &done, left: len(body), closed: closed}
			})
			io.WriteString(peer, body[:cut])
			peer.Abort()
			if why := <-closed; !errors.Is(why, syscall.ECONNRESET) {
				t.Errorf("reset after %d bytes: Closed got %v, want ECONNRESET", cut, why)
			}
			if complete := cut == len(body); open != 0 || (done == 1) != complete {
				t.Errorf("reset after %d bytes: %d uploads are open and %d are done", cut, open, done)
			}
		}
	})
}

// A loop over all bytes of a request shows that the handler survives a peer that is gone at any of them.
func Example_resetAtEveryByte() {
	testResetAtEveryByte(t)
}
