// Package conformance is the test suite that every driver must pass. By theme, it tests each
// clause of the contract in internal/driver on a driver without a loop; its upcalls check which
// calls the driver makes, and when.
package conformance

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	queue "github.com/pollux-io/pollux/internal/selector/conformance"
)

// deadline bounds every wait of the suite; what takes longer counts as lost.
const deadline = time.Minute

// quietTime is how long the suite waits to see that nothing happens: events of local streams
// take less.
const quietTime = 5 * time.Millisecond

// usual is a loop's configuration; small has low limits, which are easy to reach.
var (
	usual = driver.Config{ScratchBytes: 256 << 10, BudgetBytes: 256 << 10}
	small = driver.Config{ScratchBytes: 4 << 10, BudgetBytes: 16 << 10}
)

// Open opens the driver under test. If the machine does not have it, the caller of Run skips.
type Open func(t *testing.T, c driver.Config) driver.Driver

type test struct {
	name   string
	config driver.Config
	run    func(h *harness)
}

// Run runs the whole suite on what open opens.
func Run(t *testing.T, open func(t *testing.T, c driver.Config) driver.Driver) {
	if err := open(t, usual).Close(); err != nil { // creates what exists once per process
		t.Fatalf("closing an unused driver: %v", err)
	}
	time.Sleep(time.Nanosecond) // creates Go's own poller, which timers need
	system := queue.Sockets()
	count := func() int {
		if system.OpenDescriptors == nil {
			return 0
		}
		runtime.GC()
		return system.OpenDescriptors()
	}
	before, goroutines := count(), runtime.NumGoroutine()+1 // +1 for the subtest that counts
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
			t.Log("descriptors are not counted: the system does not report how many are open")
		} else if !eventually(func() bool { return count() <= before }) {
			t.Errorf("%d descriptors are open; %d were open before the suite", count(), before)
		}
		if !eventually(func() bool { return runtime.NumGoroutine() <= goroutines }) {
			stacks := make([]byte, 1<<16)
			t.Errorf("%d goroutines are running; %d were before the suite:\n%s", runtime.NumGoroutine(), goroutines, stacks[:runtime.Stack(stacks, true)])
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
