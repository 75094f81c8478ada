package loop

import (
	"fmt"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/sock"
)

// simulated is the name of the driver of a group on a simulated network.
const simulated = "sim"

// simulation returns the simulated host that the group runs on, or nil. The error is that of a
// Network which is not one.
func (c *Config) simulation() (driver.Simulation, error) {
	k, err := handle.KernelOf(c.Network)
	if k == nil {
		return nil, err
	}
	return k.(driver.Simulation), nil // sock.Network is sealed: its kernels are Simulations
}

// onNetwork returns the options that every socket of the group gets.
func (g *Group) onNetwork(options []sock.Option) []sock.Option {
	if g.sim == nil {
		return options
	}
	return append(options[:len(options):len(options)], sock.OnNetwork(g.config.Network))
}

// checkNetwork returns an error unless the loops of the group can serve the open socket.
func (g *Group) checkNetwork(h *handle.Handle) error {
	if _, open := h.Use(); !open {
		return nil // what follows reports that it is closed
	}
	defer h.Done()
	s := h.Virtual()
	switch {
	case s == nil && g.sim == nil, s != nil && g.sim != nil && g.sim.Owns(s):
		return nil
	case s == nil:
		return fmt.Errorf("%w: it is a socket of the operating system, and the group is on a simulated network: make it with sock.OnNetwork(Config.Network)", ErrBadArgument)
	case g.sim == nil:
		return fmt.Errorf("%w: it is a socket on a simulated network: give it to a group whose Config.Network is its host", ErrBadArgument)
	}
	return fmt.Errorf("%w: it is a socket on another simulated host than the group: make it with sock.OnNetwork(Config.Network)", ErrBadArgument)
}
