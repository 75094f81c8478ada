package loop_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// peerEnv makes the test's own program a peer that connects there, says a word, and
// then nothing more.
const peerEnv = "POLLUX_TEST_PEER_OF"

func TestMain(m *testing.M) {
	if addr := os.Getenv(peerEnv); addr != "" {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Write([]byte("hello"))
			os.Stdin.Read(make([]byte, 1)) // until it is killed, or its parent is gone
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// The peer's process is killed: that is seen promptly, whether or not
// something is being sent to it.
func TestFaultPeerKilled(t *testing.T) {
	for _, sending := range []bool{false, true} {
		said, closed := make(chan bool, 1), make(chan error, 1)
		g := group(t, loop.Config{Loops: 1})
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
			return &funcs{
				data: func(c *loop.Conn, b []byte) (int, error) {
					if sending {
						c.Write(make([]byte, 32<<20))
					}
					said <- true
					return len(b), nil
				},
				closed: func(_ *loop.Conn, why error) { closed <- why },
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), peerEnv+"="+ln.Addr().String())
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer stdin.Close()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		receive(t, said, "the peer's word")
		start := time.Now()
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		cmd.Wait()
		why := receive(t, closed, "Closed")
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("Closed came %v after the peer was killed", took)
		}
		if sending && why == nil {
			t.Error("32 MiB were not delivered, and no reason is given")
		}
	}
}

// The peer neither reads nor writes any more, with and without something to
// be sent to it: the idle timeout ends it within its budget.
func TestFaultPeerBlackHoled(t *testing.T) {
	for _, sending := range []bool{false, true} {
		const idle = 150 * time.Millisecond
		opened, closed := make(chan time.Time, 1), make(chan error, 1)
		_, c := serve(t, loop.Config{Loops: 1, IdleTimeout: idle}, func(*loop.Conn) loop.Handler {
			return &funcs{
				opened: func(c *loop.Conn) {
					if sending {
						c.Write(make([]byte, 32<<20))
					}
					opened <- time.Now()
				},
				closed: func(_ *loop.Conn, why error) { closed <- why },
			}
		})
		since := receive(t, opened, "Opened")
		why := receive(t, closed, "Closed")
		if !errors.Is(why, loop.ErrTimeout) {
			t.Errorf("the reason is %v, want ErrTimeout", why)
		}
		if took := time.Since(since); took < idle || took > 20*idle {
			t.Errorf("closed after %v, the idle timeout is %v", took, idle)
		}
		c.Close()
	}
}
