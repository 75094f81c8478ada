// Package leaktest makes leaks of goroutines and descriptors fail a test.
package leaktest

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// patience is how long what has ended may take to be gone.
const patience = 5 * time.Second

// checked has the tests that Check was called for.
var checked sync.Map

// Check counts now, and again when the test and its other cleanups are over: call
// it first. Further calls in the same test do nothing.
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
				t.Errorf("leak: %d goroutines were %d, %d descriptors were %d\n%s", g, goroutines, d, descriptors, stacks)
				return
			}
			runtime.Gosched()
		}
	})
}
