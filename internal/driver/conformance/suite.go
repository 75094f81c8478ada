// Package conformance is the one suite that every driver passes: each clause of the
// contract in internal/driver, by theme, on a driver alone, with upcalls that hold it
// to what it may call and when.
package conformance

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	queue "github.com/pollux-io/pollux/internal/selector/conformance"
)

// deadline bounds every wait of the suite: what takes longer is lost.
const deadline = 10 * time.Second

// settle is how long nothing must happen where nothing may: news of local streams
// does not take as long.
const settle = 5 * time.Millisecond

// usual is what a loop opens its driver with; small makes every limit cheap to reach.
var (
	usual = driver.Config{ScratchBytes: 256 << 10, BudgetBytes: 256 << 10}
	small = driver.Config{ScratchBytes: 4 << 10, BudgetBytes: 16 << 10}
)

// Open opens the driver under test. One that this machine lacks is for the caller of
// Run to skip.
type Open func(t *testing.T, c driver.Config) driver.Driver

type test struct {
	name   string
	config driver.Config
	run    func(h *harness)
}

// Run runs the whole suite on what open opens.
func Run(t *testing.T, open func(t *testing.T, c driver.Config) driver.Driver) {
	if err := open(t, usual).Close(); err != nil { // what is made once for each process is there now
		t.Fatalf("closing a driver that did nothing: %v", err)
	}
	time.Sleep(time.Nanosecond) // Go's own poller is made for the first timer
	system := queue.Sockets()
	count := func() int {
		if system.OpenDescriptors == nil {
			return 0
		}
		runtime.GC()
		return system.OpenDescriptors()
	}
	before, goroutines := count(), runtime.NumGoroutine()+1 // and that of the test that counts
	for _, theme := range []struct {
		name  string
		tests []test
	}{
		{"Turn", turnTests},
		{"Receive", receiveTests},
		{"Budget", budgetTests},
		{"End", endTests},
		{"Send", sendTests},
		{"Failure", failureTests},
		{"Release", releaseTests},
		{"Detach", detachTests},
		{"Connect", connectTests},
		{"Accept", acceptTests},
		{"Watch", watchTests},
		{"Packets", packetTests},
		{"Churn", churnTests},
		{"Allocs", allocTests},
	} {
		for _, x := range theme.tests {
			t.Run(theme.name+"/"+strings.ReplaceAll(x.name, " ", "-"), func(t *testing.T) {
				x.run(newHarness(t, open, x.config))
			})
		}
	}
	t.Run("NothingIsLeft", func(t *testing.T) {
		if system.OpenDescriptors == nil {
			t.Log("descriptors are not counted: the system cannot tell how many are open")
		} else if !eventually(func() bool { return count() <= before }) {
			t.Errorf("%d descriptors are open, %d were before the suite", count(), before)
		}
		if !eventually(func() bool { return runtime.NumGoroutine() <= goroutines }) {
			stacks := make([]byte, 1<<16)
			t.Errorf("%d goroutines, %d before the suite:\n%s", runtime.NumGoroutine(), goroutines, stacks[:runtime.Stack(stacks, true)])
		}
	})
}

func eventually(ok func() bool) bool {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if ok() {
			return true
		}
		runtime.Gosched()
	}
	return ok()
}
