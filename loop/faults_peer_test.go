package loop_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// peerEnv makes the test binary a peer that connects to this address, sends a few bytes, and
// nothing more.
const peerEnv = "POLLUX_TEST_PEER_OF"

func TestMain(m *testing.M) {
	if addr := os.Getenv(peerEnv); addr != "" {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Write([]byte("hello"))
			os.Stdin.Read(make([]byte, 1)) // until it is killed, or its parent exits
		}
		os.Exit(1)
	}
	chooseNetwork()
	chooseLayer()
	os.Exit(m.Run())
}

// The end of a peer whose process is killed is detected by that event, without a timeout or keep-alive, whether or not
// something is being sent to it.
func TestFaultPeerKilled(t *testing.T) {
	skipOnSimulation(t, "the peer is another process")
	if os.Getenv(pollux.BackendEnv) == "overlapped" {
		testkit.SkipOnWine(t, "on a busy machine, an operation in flight is seldom completed after the peer was killed; the cause is not known")
	}
	for _, sending := range []bool{false, true} {
		received, closed := make(chan bool, 1), make(chan error, 1)
		g := group(t, loop.Config{Loops: 1, KeepAlive: net.KeepAliveConfig{Idle: -1}}) // so that no time ends it
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
			return &funcs{
				data: func(c *loop.Conn, b []byte) (int, error) {
					if sending {
						c.Write(make([]byte, 32<<20))
					}
					select {
					case received <- true:
					default: // its bytes came in pieces
					}
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
		receive(t, received, "the peer's bytes")
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		cmd.Wait()
		why := receive(t, closed, "Closed")
		if sending && why == nil {
			t.Error("Closed got nil, want an error: 32 MiB were not delivered")
		}
	}
}

// The idle timeout closes a connection whose peer neither reads nor writes any more, whether or
// not something is unsent.
func TestFaultPeerBlackHoled(t *testing.T) {
	for _, sending := range []bool{false, true} {
		t.Run(fmt.Sprint("sending ", sending), func(t *testing.T) {
			onBothClocks(t, func(t *testing.T) { testPeerBlackHoled(t, sending) })
		})
	}
}

func testPeerBlackHoled(t *testing.T, sending bool) {
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
		t.Errorf("Closed got %v, want ErrTimeout", why)
	}
	virtual := hostOf(t) != nil && hostOf(t).bubble
	if took := time.Since(since); took < idle || virtual && took > 2*idle+resolution { // what the peer takes counts when it is sampled
		t.Errorf("closed after %v, with an idle timeout of %v", took, idle)
	}
	c.Close()
}
