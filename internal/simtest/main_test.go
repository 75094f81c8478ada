package simtest

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

// With one processor the order in which goroutines run depends on nothing but the program: also
// where some run at the same instant, such as those of Offload and of calls that wait. It is faster, too:
// waking an actor never wakes another thread.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
