// Package conformance is the test suite that every driver must pass. By theme, a file each, it
// tests each clause of the contract in internal/driver on a driver without a loop; its upcalls
// check which calls the driver makes, and when. Read harness.go first; conn.go and outgoing.go
// have the checks of every upcall. Faults that need a loop are injected by the tests of package
// loop, which run on each driver too.
package conformance

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/testkit"
)

// deadline bounds every wait of the suite; what takes longer, even on a busy machine, counts as lost.
const deadline = testkit.Watchdog

// quietTime is how long the suite waits to see that nothing happens: events of local streams
// take less.
const quietTime = 5 * time.Millisecond

// usual is a loop's configuration; small has low limits, which are easy to reach.
var (
	usual = driver.Config{ScratchBytes: 256 << 10, BudgetBytes: 256 << 10}
	small = driver.Config{ScratchBytes: 4 << 10, BudgetBytes: 16 << 10}
)

type test struct {
	name   string
	config driver.Config
	run    func(h *harness)
}

// Run runs the whole suite on what open opens, with sockets of the operating system. If the machine
// does not have the driver, the caller skips.
func Run(t *testing.T, open func(t *testing.T, c driver.Config) driver.Driver) {
	RunOn(t, Machine{Open: open, LimitDescriptors: testkit.LimitDescriptors, SilentHost: testkit.SilentHost})
}

// RunOn runs the whole suite on a machine.
func RunOn(t *testing.T, m Machine) {
	runAll(t, m, func(t *testing.T, x *test) { x.run(newHarness(t, m, x.config)) })
}

// RunInBubbles runs the whole suite on simulated networks, each test in a bubble of testing/synctest on a
// machine of its own: the time that the suite waits to see that nothing happens takes no real time. Those
// of busyTests run outside bubbles.
func RunInBubbles(t *testing.T, machine func(t *testing.T) Machine) {
	runAll(t, machine(t), func(t *testing.T, x *test) {
		run := func(t *testing.T) { x.run(newHarness(t, machine(t), x.config)) }
		if slices.ContainsFunc(busyTests, func(b test) bool { return b.name == x.name }) {
			run(t)
			return
		}
		synctest.Test(t, run)
	})
}

// runAll runs each test of the suite as a subtest, and checks that they leave nothing of the process
// behind. It opens a driver of the machine before, which creates what exists once per process.
func runAll(t *testing.T, m Machine, run func(t *testing.T, x *test)) {
	if err := m.Open(t, usual).Close(); err != nil {
		t.Fatalf("closing an unused driver: %v", err)
	}
	before := testkit.CountUsage()
	before.Goroutines++ // that of the subtest that counts
	for _, theme := range themes {
		for i := range theme.tests {
			x := &theme.tests[i]
			t.Run(theme.name+"/"+strings.ReplaceAll(x.name, " ", "-"), func(t *testing.T) { run(t, x) })
		}
	}
	t.Run("NothingIsLeft", func(t *testing.T) { before.Check(t) })
}

var themes = []struct {
	name  string
	tests []test
}{
	{"Turn", turnTests},
	{"Busy", busyTests},
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
}
