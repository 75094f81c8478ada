package testkit

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Usage is how many goroutines and descriptors this process has.
type Usage struct {
	Goroutines  int
	Descriptors int // 0 where the system does not report it
}

// CountUsage returns the current usage. What Go's runtime creates at its first use and keeps, its
// poller, exists from the first call on.
func CountUsage() Usage {
	u := Usage{Goroutines: runtime.NumGoroutine()}
	u.Descriptors, _ = OpenDescriptors()
	return u
}

// exceeds reports whether there are more goroutines or descriptors than in v.
func (u Usage) exceeds(v Usage) bool {
	return u.Goroutines > v.Goroutines || u.Descriptors > v.Descriptors
}

// Check fails the test if Leak reports a leak.
func (u Usage) Check(t testing.TB) {
	t.Helper()
	if leak := u.Leak(); leak != "" {
		t.Error(leak)
	}
	if _, ok := OpenDescriptors(); !ok {
		t.Log("only goroutines are counted: this system does not report the open descriptors")
	}
}

// Leak waits until there are no more goroutines and descriptors than in u: ended goroutines and
// closed descriptors may take a moment to disappear. If some remain, it returns their numbers and
// the stacks of all goroutines; otherwise "".
func (u Usage) Leak() string { return u.leakAfter(Watchdog) }

func (u Usage) leakAfter(limit time.Duration) string {
	var now Usage
	if within(limit, func() bool { now = CountUsage(); return !now.exceeds(u) }) {
		return ""
	}
	return fmt.Sprintf("leak: %d goroutines, %d before; %d descriptors, %d before\n%s", now.Goroutines, u.Goroutines, now.Descriptors, u.Descriptors, Stacks())
}

// checked has the tests that have called CheckLeaks.
var checked sync.Map

// CheckLeaks counts goroutines and descriptors now, and checks them again after the test and its
// other cleanups: call it first. Further calls in the same test do nothing.
func CheckLeaks(t testing.TB) {
	t.Helper()
	if _, again := checked.LoadOrStore(t, nil); again {
		return
	}
	before := CountUsage()
	t.Cleanup(func() {
		checked.Delete(t)
		before.Check(t)
	})
}

// OpenDescriptors returns how many descriptors this process has open, on Windows handles of files,
// devices, sockets and completion ports. ok is false if the system does not report it. The
// system may count one that counting needs: compare the result with other results only.
func OpenDescriptors() (n int, ok bool) {
	startPoller()
	return countDescriptors()
}

// startPoller opens the descriptors that Go's runtime keeps after the first use of its poller.
var startPoller = sync.OnceFunc(func() {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
})
