package sim

import (
	"sync"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/sys"
)

// A Host is a simulated host that loops can run on.
type Host struct {
	*simnet.Host
	adversity Adversity

	mu   sync.Mutex
	open map[*Driver]struct{} // those of OpenDriver that are not closed
}

var _ driver.Simulation = (*Host)(nil)

// NewHost returns h as a Host, whose drivers have the adversity a. It must be valid (Validate).
func NewHost(h *simnet.Host, a Adversity) *Host {
	if err := a.Validate(); err != nil {
		panic(err)
	}
	return &Host{Host: h, adversity: a, open: map[*Driver]struct{}{}}
}

// OpenDriver implements driver.Simulation.
func (h *Host) OpenDriver(c driver.Config) (driver.Driver, error) {
	d := Open(h.Host, c, h.adversity)
	d.host = h
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open[d] = struct{}{}
	return d, nil
}

func (h *Host) remove(d *Driver) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, d)
}

// OpenDrivers returns how many drivers are open: one for each loop on the host.
func (h *Host) OpenDrivers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// WakeDrivers makes the Turn of each driver return: with an error, once the network is closed.
func (h *Host) WakeDrivers() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for d := range h.open {
		d.Wake()
	}
}

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
