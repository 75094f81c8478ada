package loop

import (
	"fmt"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/sock"
)

// simulated is the name of the driver of a group on a simulated network.
const simulated = "sim"

// simulation returns the simulated host that the group runs on, or nil.
func (c *Config) simulation() driver.Simulation {
	if k := handle.KernelOf(c.Network); k != nil {
		return k.(driver.Simulation) // sock.Network is sealed: its kernels are Simulations
	}
	return nil
}

// onNetwork returns the options that every socket of the group gets.
func (g *Group) onNetwork(options []sock.Option) []sock.Option {
	if g.sim == nil {
		return options
	}
	return append(options[:len(options):len(options)], sock.OnNetwork(g.config.Network))
}

// checkNetwork returns an error unless the loops of the group can serve the socket.
func (g *Group) checkNetwork(h *handle.Handle) error {
	s := h.Virtual()
	switch {
	case s == nil && g.sim == nil, s != nil && g.sim != nil && g.sim.Owns(s):
		return nil
	case s == nil:
		return fmt.Errorf("%w: the socket is one of the operating system, and Config.Network is a simulated network; make the socket there (sock.OnNetwork)", ErrBadArgument)
	case g.sim == nil:
		return fmt.Errorf("%w: the socket is on a simulated network; set Config.Network to that", ErrBadArgument)
	}
	return fmt.Errorf("%w: the socket is on another host than Config.Network", ErrBadArgument)
}

// now returns the time on the group's clock.
func (g *Group) now() time.Time {
	if g.manual != nil {
		return g.manual.Now()
	}
	return time.Now()
}
