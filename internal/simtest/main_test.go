package simtest

import (
	"os"
	"runtime"
	"testing"
)

// With one processor the order in which goroutines run depends on nothing but the program: also
// where some run at the same instant, such as those of Offload and of calls that wait. It is faster, too:
// waking an actor never wakes another thread.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}
