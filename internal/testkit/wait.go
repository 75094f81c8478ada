package testkit

import (
	"runtime"
	"time"
)

// Watchdog bounds every wait for what must happen: what takes longer counts as lost. It ends
// tests that hang, and is longer than a busy machine delays what they wait for.
const Watchdog = 3 * time.Minute

// Eventually only yields the processor between calls for spin, and at most spins times, because in a
// bubble of testing/synctest no time passes meanwhile; then it sleeps pause.
const (
	spin  = 2 * time.Millisecond
	spins = 2000
	pause = 500 * time.Microsecond
)

// Eventually calls ok until it returns true, for at most Watchdog, and returns its last result.
func Eventually(ok func() bool) bool { return within(Watchdog, ok) }

func within(limit time.Duration, ok func() bool) bool {
	start := time.Now()
	for n := 0; ; n++ {
		waited := time.Since(start)
		switch {
		case ok():
			return true
		case waited >= limit:
			return false
		case waited < spin && n < spins:
			runtime.Gosched()
		default:
			time.Sleep(pause)
		}
	}
}

// maxStackBytes limits what Stacks returns.
const maxStackBytes = 1 << 20

// Stacks returns the stacks of all goroutines, for the message of a test that has waited in vain.
func Stacks() string {
	b := make([]byte, maxStackBytes)
	return string(b[:runtime.Stack(b, true)])
}
