// Package leaktest fails a test that leaks goroutines or descriptors.
package leaktest

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// patience is how long ended goroutines and closed descriptors may take to disappear.
const patience = 5 * time.Second

// checked has the tests that have called Check.
var checked sync.Map

// Check counts goroutines and descriptors now, and again after the test and its other
// cleanups: call it first. Further calls in the same test do nothing.
func Check(t *testing.T) {
	t.Helper()
	if _, again := checked.LoadOrStore(t, nil); again {
		return
	}
	goroutines, descriptors := runtime.NumGoroutine(), open()
	t.Cleanup(func() {
		deadline := time.Now().Add(patience)
		for {
			g, d := runtime.NumGoroutine(), open()
			if g <= goroutines && d <= descriptors {
				return
			}
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				stacks = stacks[:runtime.Stack(stacks, true)]
				t.Errorf("leak: %d goroutines, before %d; %d descriptors, before %d\n%s", g, goroutines, d, descriptors, stacks)
				return
			}
			runtime.Gosched()
		}
	})
}
