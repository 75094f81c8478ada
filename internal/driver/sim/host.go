package sim

import (
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/sys"
)

// A Host is a simulated host that loops can run on.
type Host struct {
	*simnet.Host
	adversity Adversity
}

var _ driver.Simulation = (*Host)(nil)

// NewHost returns h as a Host, whose drivers have the adversity a. It must be valid (Validate).
func NewHost(h *simnet.Host, a Adversity) *Host {
	if err := a.Validate(); err != nil {
		panic(err)
	}
	return &Host{h, a}
}

// OpenDriver implements driver.Simulation.
func (h *Host) OpenDriver(c driver.Config) (driver.Driver, error) {
	d := Open(h.Host, c, h.adversity)
	if h.adversity.AsyncPackets {
		return packetSender{d}, nil
	}
	return d, nil
}

// NewActor implements driver.Simulation.
func (h *Host) NewActor() driver.Actor { return h.Host.NewActor() }

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
