package loop_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// L1: order of the callbacks, and their reasons.
func TestL1Callbacks(t *testing.T) {
	log := make(chan string, 16)
	h := func(*loop.Conn) loop.Handler {
		return &funcs{
			opened: func(*loop.Conn) { log <- "opened" },
			data: func(_ *loop.Conn, b []byte) (int, error) {
				log <- "data " + string(b)
				return len(b), nil
			},
			closed: func(_ *loop.Conn, why error) { log <- fmt.Sprint("closed ", why) },
		}
	}
	_, c := serve(t, loop.Config{}, h)
	if got := receive(t, log, "Opened"); got != "opened" {
		t.Fatalf("first %q", got)
	}
	c.Write([]byte("x"))
	if got := receive(t, log, "Data"); got != "data x" {
		t.Fatalf("then %q", got)
	}
	c.Close()
	if got := receive(t, log, "Closed"); got != "closed <nil>" {
		t.Fatalf("last %q", got)
	}
	select {
	case more := <-log:
		t.Errorf("after Closed: %q", more)
	case <-time.After(20 * time.Millisecond):
	}
}

func TestL1PanicClosesThatConnectionOnly(t *testing.T) {
	for _, where := range []string{"accept", "opened", "data", "closed"} {
		t.Run(where, func(t *testing.T) {
			why := make(chan error, 16)
			h := func(*loop.Conn) loop.Handler {
				if where == "accept" {
					panic("boom")
				}
				return &funcs{
					opened: func(*loop.Conn) {
						if where == "opened" {
							panic("boom")
						}
					},
					data: func(c *loop.Conn, b []byte) (int, error) {
						if where == "data" && string(b) == "bad" {
							panic("boom")
						}
						return c.Write(b)
					},
					closed: func(_ *loop.Conn, err error) {
						why <- err
						if where == "closed" {
							panic("boom")
						}
					},
				}
			}
			g, c := serve(t, loop.Config{Loops: 1, Logger: quiet()}, h)
			c.Write([]byte("bad"))
			if where == "closed" {
				c.Close()
			} else {
				c.Read(make([]byte, 1)) // the end, one way or the other
			}
			if where != "accept" {
				err := receive(t, why, "Closed")
				var p *loop.PanicError
				if (where != "closed") != (errors.As(err, &p) && p.Value == "boom") {
					t.Errorf("the reason is %v", err)
				}
			}
			alive := make(chan bool, 1)
			g.Loops()[0].Run(func() { alive <- true })
			receive(t, alive, "the loop's next turn")
		})
	}
}
