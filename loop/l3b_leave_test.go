package loop_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// A handler that has left bytes because it could not answer gets them again when sending fails,
// even if the failure is detected as Data returns.
func TestL3bLeftBytesAreRedeliveredWhenSendingFails(t *testing.T) {
	called, reset := make(chan bool), make(chan bool)
	drained, closed := make(chan bool, 10), make(chan error, 1)
	got, full := "", false
	_, c := serve(t, loop.Config{Loops: 1, HighWatermarkBytes: 4 << 10, LowWatermarkBytes: 1 << 10, MaxUnsentBytes: 8 << 10}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				if !full {
					called <- true
					<-reset
					for !full {
						_, err := c.Write(make([]byte, 1<<10))
						full = errors.Is(err, loop.ErrBufferFull)
						if err != nil && !full {
							t.Errorf("Write: %v", err)
							break
						}
					}
					return 0, nil // until Drained
				}
				got += string(b)
				return len(b), nil
			},
			drained: func(*loop.Conn) { drained <- true },
			closed:  func(_ *loop.Conn, why error) { closed <- why },
		}
	})
	io.WriteString(c, "hello")
	receive(t, called, "Data")
	c.SetLinger(0)
	c.Close()
	close(reset)
	if why := receive(t, closed, "Closed"); !isReset(why) || got != "hello" || len(drained) == 0 {
		t.Errorf("Data got %q again, Drained was called %d times, Closed got %v, want hello, at least 1, a reset", got, len(drained), why)
	}
}

// The context, obtained in the callback in which sending fails, has that failure as its cause,
// not ErrClosed.
func TestL3bContextInTheCallbackInWhichSendingFails(t *testing.T) {
	called, reset := make(chan bool), make(chan bool)
	cause, closed := make(chan error, 1), make(chan error, 1)
	_, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				called <- true
				<-reset
				c.Write(make([]byte, 64<<10)) // sent immediately, if the driver can
				cause <- context.Cause(c.Context())
				return len(b), nil
			},
			closed: func(c *loop.Conn, why error) { closed <- why },
		}
	})
	io.WriteString(c, "hello")
	receive(t, called, "Data")
	c.SetLinger(0)
	c.Close()
	close(reset)
	if err := receive(t, cause, "the context"); err != nil && !isReset(err) {
		t.Errorf("the context's cause is %v, want nil or the reset", err)
	}
	receive(t, closed, "Closed")
}

// Drained follows a Write that returned ErrBufferFull, even if Writev succeeds with less meanwhile.
func TestL3bDrainedAfterNoRoom(t *testing.T) {
	got := make(chan string, 1)
	full := false
	_, c := serve(t, loop.Config{Loops: 1, HighWatermarkBytes: 8 << 10, LowWatermarkBytes: 1 << 10, MaxUnsentBytes: 8 << 10}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				if full {
					got <- string(b)
					return len(b), nil
				}
				full = true
				c.Write(make([]byte, 6<<10))
				if _, err := c.Write(make([]byte, 4<<10)); !errors.Is(err, loop.ErrBufferFull) {
					t.Errorf("the second Write: got %v, want ErrBufferFull", err)
				}
				if _, err := c.Writev([][]byte{[]byte("wait"), []byte("\n")}); err != nil {
					t.Errorf("Writev: %v", err)
				}
				return 0, nil // until Drained
			},
		}
	})
	io.WriteString(c, "hello")
	if s := receive(t, got, "the bytes that Data left"); s != "hello" {
		t.Errorf("Data got %q again, want hello", s)
	}
}
