package looptest_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// impatient closes a connection that sends nothing for half a minute.
type impatient struct{ closed chan error }

func (impatient) Opened(c *loop.Conn) { c.SetIdleTimeout(30 * time.Second) }

func (impatient) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }

func (i impatient) Closed(_ *loop.Conn, why error) { i.closed <- why }

// testTimeout sends a byte every 29 seconds for an hour, and then nothing.
func testTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan error, 1)
		peer := looptest.Pipe(t, func(*loop.Conn) loop.Handler { return impatient{closed} })
		for range 124 {
			time.Sleep(29 * time.Second)
			if _, err := io.WriteString(peer, "."); err != nil {
				t.Fatal(err)
			}
		}
		silent := time.Now()
		if why := <-closed; !errors.Is(why, loop.ErrTimeout) {
			t.Errorf("Closed got %v, want ErrTimeout", why)
		}
		if after := time.Since(silent); after < 30*time.Second || after > 30*time.Second+10*time.Millisecond {
			t.Errorf("the connection was closed after %v of silence, want 30 s", after)
		}
	})
}

// In a bubble of testing/synctest the loop's timers use the bubble's clock, which moves when every
// goroutine waits: an hour takes no time, and timeouts are exact.
func Example_timeout() {
	testTimeout(t)
}
