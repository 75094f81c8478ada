package sim

import (
	"sync/atomic"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/sys"
)

// A Host is a simulated host that loops can run on.
type Host struct {
	*simnet.Host
	adversity Adversity
	open      atomic.Int32 // drivers
}

var _ driver.Simulation = (*Host)(nil)

// NewHost returns h as a Host, whose drivers have the adversity a. It must be valid (Validate).
func NewHost(h *simnet.Host, a Adversity) *Host {
	if err := a.Validate(); err != nil {
		panic(err)
	}
	return &Host{Host: h, adversity: a}
}

// OpenDriver implements driver.Simulation.
func (h *Host) OpenDriver(c driver.Config) (driver.Driver, error) {
	d := Open(h.Host, c, h.adversity)
	d.closed = func() { h.open.Add(-1) }
	h.open.Add(1)
	return d, nil
}

// OpenDrivers returns how many drivers are open: one for each loop on the host.
func (h *Host) OpenDrivers() int { return int(h.open.Load()) }

// Owns implements driver.Simulation.
func (h *Host) Owns(s sys.VirtualSocket) bool {
	x, ok := simnet.SocketOf(s)
	return ok && x.Host() == h.Host
}

// Clock implements driver.Simulation.
func (h *Host) Clock() driver.Clock {
	if n := h.Network(); n.Manual() {
		return n
	}
	return nil
}
