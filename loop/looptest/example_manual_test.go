package looptest_test

import (
	"io"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// testManualClock is a test of a timeout without testing/synctest.
func testManualClock(t *testing.T) {
	n := looptest.New(t, looptest.Config{Manual: true})
	closed := make(chan error, 1)
	peer := n.Pipe(loop.Config{}, func(*loop.Conn) loop.Handler { return impatient{closed} })

	n.Advance(29 * time.Second)
	io.WriteString(peer, ".")
	n.Advance(29 * time.Second)
	if len(closed) > 0 {
		t.Errorf("the connection was closed, 29 s after it was active: %v", <-closed)
	}
	if !n.AdvanceUntil(2*time.Second, func() bool { return len(closed) > 0 }) {
		t.Error("the connection is open, 31 s after it was active")
	}
}

// With Config.Manual the clock of the network moves when the test says so. Calls that wait for the
// network, such as Read, return only if another goroutine moves it.
func Example_manualClock() {
	testManualClock(t)
}
