package sim_test

import (
	"flag"
	"math"
	"net/netip"
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/conformance"
	"github.com/pollux-io/pollux/internal/driver/sim"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// network is a host as a sock.Network.
type network struct{ handle.Hosted }

func networkOf(h *sim.Host) sock.Network {
	n := &network{}
	handle.SetKernel(&n.Hosted, h)
	return n
}

// adversities are each adversity alone, and all.
var adversities = map[string]sim.Adversity{
	"None":            {},
	"AsyncSend":       {AsyncSend: true},
	"AsyncConnect":    {AsyncConnect: true},
	"AsyncPackets":    {AsyncPackets: true},
	"PartialSends":    {PartialSends: 0.5},
	"EmptySends":      {AsyncSend: true, EmptySends: 0.5},
	"PartialReceives": {PartialReceives: 0.5},
	"LateBytes":       {LateBytes: driver.MaxLateBytes},
	"HeldAccepts":     {HeldAccepts: 10},
	"Shuffle":         {Shuffle: true},
	"Delays":          {Delays: 0.3},
	"DelayedReleases": {DelayedReleases: 0.5},
	"EarlyTurns":      {EarlyTurns: 0.3},
	"SpoilMemory":     {SpoilMemory: true},
	"All":             all,
}

var all = sim.Adversity{
	AsyncSend: true, AsyncConnect: true, AsyncPackets: true, PartialSends: 0.3, EmptySends: 0.3, PartialReceives: 0.3, LateBytes: 10_000, HeldAccepts: 5,
	Shuffle: true, Delays: 0.3, DelayedReleases: 0.3, EarlyTurns: 0.3, SpoilMemory: true,
}

var seed = flag.Uint64("seed", 1, "of the simulated networks")

// TestConformance runs the suite with each adversity in simulated time.
func TestConformance(t *testing.T) {
	for name, a := range adversities {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "None" && name != "All" {
				t.Skip("skipped with -short: All has this adversity, too")
			}
			testkit.CheckLeaks(t)
			conformance.RunInBubbles(t, func(t *testing.T) conformance.Machine { return newMachine(t, a) })
		})
	}
}

// TestConformanceInRealTime runs the suite on the clock of the machine, where actors run concurrently.
func TestConformanceInRealTime(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped with -short: the suite waits for seconds to see that nothing happens")
	}
	testkit.CheckLeaks(t)
	conformance.RunOn(t, newMachine(t, all))
}

// newMachine returns a host of a network for the conformance suite. Its cleanup checks that all sockets
// were closed.
func newMachine(t *testing.T, a sim.Adversity) conformance.Machine {
	n := simnet.New(simnet.Config{Seed: *seed})
	h := sim.NewHost(n.Host(), a)
	t.Cleanup(func() {
		if n := h.Descriptors(); n != 0 {
			t.Errorf("%d sockets are still open", n)
		}
		n.Close()
	})
	return conformance.Machine{
		Open: func(t *testing.T, c driver.Config) driver.Driver {
			d, err := h.OpenDriver(c)
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
		Network: networkOf(h),
		LimitDescriptors: func(t testing.TB, free int) (restore func()) {
			h.SetMaxDescriptors(h.Descriptors() + free)
			restore = func() { h.SetMaxDescriptors(math.MaxInt) }
			t.Cleanup(restore)
			return restore
		},
		SilentHost: func(t testing.TB) netip.Addr {
			t.Skip("no datagram blocks on this network")
			return netip.Addr{}
		},
	}
}

func anyPortOf(h *simnet.Host) netip.AddrPort { return netip.AddrPortFrom(h.Addr(), 0) }

var anyLoopback = netip.MustParseAddrPort("127.0.0.1:0")
