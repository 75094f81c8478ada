package simtest

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

// A run has one goroutine that does something at a time, so it is faster with one processor: waking a
// goroutine does not wake a thread.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
