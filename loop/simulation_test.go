package loop_test

import (
	"math"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/loop/looptest"

	"github.com/pollux-io/pollux/internal/testkit"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/sim"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
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
	seed    uint64
	hosts   map[string]*simulatedHost
}{hosts: map[string]*simulatedHost{}}

// chooseNetwork sets the network of the tests from the environment.
func chooseNetwork() {
	if b := os.Getenv(pollux.BackendEnv); b == simulation || b == adverseSimulation {
		networks.backend = b
		os.Unsetenv(pollux.BackendEnv) // the library does not know it
	}
	if s := os.Getenv(looptest.SeedEnv); s != "" {
		var err error
		if networks.seed, err = strconv.ParseUint(s, 0, 64); err != nil {
			panic(err)
		}
	}
}

// A simulatedHost is the only host of a simulated network.
type simulatedHost struct {
	handle.Hosted
	*simnet.Host
	kernel *simulatedKernel
	bubble bool // in a bubble of testing/synctest
}

var _ sock.Network = (*simulatedHost)(nil)

// A simulatedKernel opens the drivers of groups on a simulated host.
type simulatedKernel struct {
	*sim.Host
	wrap func(driver.Driver) driver.Driver // or nil
}

// OpenDriver implements driver.Simulation.
func (k *simulatedKernel) OpenDriver(c driver.Config) (driver.Driver, error) {
	d, err := k.Host.OpenDriver(c)
	if err == nil && k.wrap != nil {
		d = k.wrap(d)
	}
	return d, err
}

// failingDrivers is loop.UseFailingDrivers on the network of the test.
func failingDrivers(t *testing.T) func() []*loop.FailingDriver {
	h := hostOf(t)
	if h == nil {
		return loop.UseFailingDrivers(t)
	}
	var drivers []*loop.FailingDriver
	h.kernel.wrap = func(d driver.Driver) driver.Driver {
		drivers = append(drivers, &loop.FailingDriver{Driver: d})
		return drivers[len(drivers)-1]
	}
	t.Cleanup(func() { h.kernel.wrap = nil })
	return func() []*loop.FailingDriver { return drivers }
}

// hostOf returns the simulated host that a test runs on, or nil.
func hostOf(t testing.TB) *simulatedHost {
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

// inParts matches the tests in which adversity also sends and receives in parts of any size. Others rely on
// a message of a few bytes being one part.
var inParts = regexp.MustCompile(`Model|NothingIsLost|AgainstEverything|EndsAnyhow|CloseWith|Stress|Storm`)

// newHostLocked makes the host of a test. When the test has ended, its sockets must be closed.
func newHostLocked(t testing.TB) *simulatedHost {
	n := simnet.New(simnet.Config{Seed: networks.seed, TraceEvents: 100})
	h := &simulatedHost{Host: n.Host()}
	var a sim.Adversity
	if networks.backend == adverseSimulation {
		a = sim.Adversity{
			AsyncSend: true, AsyncConnect: true, AsyncPackets: true, LateBytes: 4 << 10, HeldAccepts: 3,
			Shuffle: true, Delays: 0.2, DelayedReleases: 0.2, EarlyTurns: 0.1, SpoilMemory: true,
		}
		if inParts.MatchString(t.Name()) {
			a.PartialSends, a.EmptySends, a.PartialReceives = 0.2, 0.1, 0.2
		}
	}
	h.kernel = &simulatedKernel{Host: sim.NewHost(h.Host, a)}
	handle.SetKernel(&h.Hosted, h.kernel)
	networks.hosts[t.Name()] = h
	t.Cleanup(func() {
		if h.bubble {
			time.Sleep(resolution) // goroutines that wait for what has been closed before end
		}
		networks.Lock()
		delete(networks.hosts, t.Name())
		networks.Unlock()
		if open := h.Descriptors(); open > 0 && !t.Failed() {
			t.Errorf("%d descriptors are open after the test", open)
		}
		n.Close()
		if t.Failed() {
			t.Logf("the network's seed is %d (%s); its trace:\n%s", n.Seed(), looptest.SeedEnv, n.Trace())
		}
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

// skipOnAdversity skips a test that adversity makes pointless.
func skipOnAdversity(t testing.TB, reason string) {
	t.Helper()
	if networks.backend == adverseSimulation {
		t.Skip("skipped with adversity: ", reason)
	}
}

// hasAdversity reports whether drivers do what their contract allows at random: completions come turns
// later than what they report, and in any order.
func hasAdversity(t testing.TB) bool {
	return hostOf(t) != nil && networks.backend == adverseSimulation
}

// resolution is how much later than its time a loop's timer fires at most.
const resolution = 2 * time.Millisecond

// simulated runs a test on a simulated network in a bubble of testing/synctest, whatever network the
// other tests run on: its time passes only while all goroutines wait.
func simulated(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		networks.Lock()
		newHostLocked(t).bubble = true
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

// A simulatedUDP is a connected UDP socket.
type simulatedUDP struct {
	*simnet.PacketConn
	peer net.Addr
}

func dialSimulatedUDP(h *simulatedHost, network, address string) (net.Conn, error) {
	peer, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	p, err := h.ListenPacket(network, netip.AddrPortFrom(peer.Addr(), 0).String())
	if err != nil {
		return nil, err
	}
	return simulatedUDP{p, net.UDPAddrFromAddrPort(peer)}, nil
}

func (u simulatedUDP) RemoteAddr() net.Addr { return u.peer }

func (u simulatedUDP) Write(b []byte) (int, error) { return u.WriteTo(b, u.peer) }

func (u simulatedUDP) Read(b []byte) (int, error) {
	for {
		n, from, err := u.ReadFrom(b)
		if err != nil || from.String() == u.peer.String() {
			return n, err
		}
	}
}

// limitDescriptors is testkit.LimitDescriptors for the host of the test.
func limitDescriptors(t testing.TB, free int) (restore func()) {
	h := hostOf(t)
	if h == nil {
		return testkit.LimitDescriptors(t, free)
	}
	h.SetMaxDescriptors(h.Descriptors() + free)
	restore = func() { h.SetMaxDescriptors(math.MaxInt) }
	t.Cleanup(restore)
	return restore
}
