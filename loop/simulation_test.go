package loop_test

import (
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop/looptest"
)

// With these values of POLLUX_BACKEND, which only these tests know, they run on a simulated network,
// whose loops get their events without or with adversity. Outside of a bubble its clock is the real one.
const (
	simulation        = "sim"
	adverseSimulation = "sim-adverse"
)

// networks has the simulated hosts that tests run on, by the name of the test. Subtests run on that of
// their parent.
var networks = struct {
	sync.Mutex
	backend string // simulation, adverseSimulation, or "" for the operating system's network
	hosts   map[string]*looptest.Host
}{hosts: map[string]*looptest.Host{}}

// chooseNetwork sets the network of the tests from the environment.
func chooseNetwork() {
	if b := os.Getenv(pollux.BackendEnv); b == simulation || b == adverseSimulation {
		networks.backend = b
		os.Unsetenv(pollux.BackendEnv) // the library does not know it
	}
}

// hostOf returns the simulated host that a test runs on, or nil.
func hostOf(t testing.TB) *looptest.Host {
	networks.Lock()
	defer networks.Unlock()
	for name, more := t.Name(), true; more; {
		if h := networks.hosts[name]; h != nil {
			return h
		}
		i := strings.LastIndexByte(name, '/')
		if more = i > 0; more {
			name = name[:i]
		}
	}
	if networks.backend == "" {
		return nil
	}
	return newHostLocked(t)
}

func newHostLocked(t testing.TB) *looptest.Host {
	t.Helper()
	config := looptest.Config{Seed: 1}
	if networks.backend == adverseSimulation {
		config.Adversity = looptest.AllAdversity
	}
	h := looptest.New(t, config).Host()
	networks.hosts[t.Name()] = h
	t.Cleanup(func() {
		networks.Lock()
		defer networks.Unlock()
		delete(networks.hosts, t.Name())
	})
	return h
}

// skipOnSimulation skips a test that needs the operating system's sockets.
func skipOnSimulation(t testing.TB, reason string) {
	t.Helper()
	if hostOf(t) != nil {
		t.Skip("skipped on a simulated network: ", reason)
	}
}

// resolution is how much later than its time a loop's timer fires at most.
const resolution = 2 * time.Millisecond

// simulated runs a test on a simulated network in a bubble of testing/synctest, whatever network the
// other tests run on: its time passes only while all goroutines wait.
func simulated(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		networks.Lock()
		newHostLocked(t)
		networks.Unlock()
		test(t)
	})
}

// testSimulated runs a subtest by simulated.
func testSimulated(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { simulated(t, test) })
}

// onBothClocks runs a test in real time, and by simulated.
func onBothClocks(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Run("real time", test)
	testSimulated(t, "simulated time", test)
}

// checkTook checks that what began at the given time has taken as long as it must, for simulated.
func checkTook(t *testing.T, begun time.Time, want time.Duration, what string) {
	t.Helper()
	if took := time.Since(begun); took < want || took > want+resolution {
		t.Errorf("%s took %v, want %v", what, took, want)
	}
}
