package looptest_test

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// greeter answers each line with a greeting.
type greeter struct{}

func (greeter) Data(c *loop.Conn, b []byte) (consumed int, err error) {
	for {
		name, rest, complete := bytes.Cut(b[consumed:], []byte("\n"))
		if !complete {
			return consumed, nil // the rest of the line follows
		}
		consumed = len(b) - len(rest)
		if _, err := c.Write([]byte("hello " + string(name) + "\n")); err != nil {
			return consumed, err
		}
	}
}

// testPartialMessage sends two messages in two parts, cut at every byte. The handler gets the first part
// alone.
func testPartialMessage(t *testing.T) {
	const sent, want = "castor\npollux\n", "hello castor\nhello pollux\n"
	synctest.Test(t, func(t *testing.T) {
		for cut := range len(sent) + 1 {
			peer := looptest.Pipe(t, func(*loop.Conn) loop.Handler { return greeter{} })
			io.WriteString(peer, sent[:cut])
			time.Sleep(time.Second) // of the bubble's clock: the loop has nothing to do any more
			io.WriteString(peer, sent[cut:])
			peer.CloseWrite()
			if got, err := io.ReadAll(peer); string(got) != want || err != nil {
				t.Errorf("cut after %d bytes: got %q, %v, want %q", cut, got, err, want)
			}
		}
	})
}

// A message may arrive in any number of parts. In a bubble of testing/synctest, time.Sleep takes no time,
// and returns when everything else waits.
func Example_partialMessage() {
	testPartialMessage(t)
}
