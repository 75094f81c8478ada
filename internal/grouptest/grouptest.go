// Package grouptest makes the groups of tests above package loop, such as those of netconn and tlsconn: on each backend that
// the machine has, and on simulated networks. Only tests import it; .ci/run checks that.
package grouptest

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// loops is how many loops a group has, unless the test chooses: the least with which connections are on different ones.
const loops = 2

// New returns a group that is shut down after the test, which must have closed its connections: one that is cut off
// fails the test.
func New(t testing.TB, c loop.Config) *loop.Group {
	t.Helper()
	g, err := loop.NewGroup(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Watchdog)
		defer cancel()
		if err := g.Shutdown(ctx); err != nil {
			t.Errorf("the group does not shut down: %v", err)
		}
	})
	return g
}

// OnBackends runs f with a group on each backend, in a subtest of its name, which is skipped where the backend is not
// usable. Goroutines and descriptors that f leaves behind fail the test.
func OnBackends(t *testing.T, f func(t *testing.T, g *loop.Group)) {
	t.Helper()
	for _, b := range loop.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			testkit.SkipBackend(t, b.Name, b.Usable, b.Why)
			f(t, New(t, loop.Config{Loops: loops, Backend: b.Name}))
		})
	}
}

// OnSim runs f in a bubble with a group on a simulated network: without adversity, and with it.
func OnSim(t *testing.T, f func(t *testing.T, g *loop.Group)) {
	t.Helper()
	for name, a := range map[string]looptest.Adversity{"sim": {}, "sim-adverse": looptest.Adverse()} {
		t.Run(name, func(t *testing.T) { InBubble(t, looptest.Config{Adversity: a}, f) })
	}
}

// InBubble runs f in a bubble of package testing/synctest, with a group on a host of the network that c describes.
func InBubble(t *testing.T, c looptest.Config, f func(t *testing.T, g *loop.Group)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		host := looptest.New(t, c).Host(netip.MustParseAddr("10.0.0.1"))
		f(t, host.NewGroup(loop.Config{Loops: loops}))
	})
}
