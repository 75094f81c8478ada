package dns

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/pollux-io/pollux/internal/misuse"
)

// maxSockets is the range of Config.SocketsPerServer.
const maxSockets = 1024

// limits are those of one exchanger. They are immutable.
type limits struct {
	queries   int // in progress
	sockets   int // for UDP, for each server, at least
	sources   []netip.Addr
	perServer int           // transmissions in flight; 0: unlimited
	interval  time.Duration // between two attempts at one server, on the average; 0: unlimited
}

// checkLimits returns an error that wraps ErrBadArgument if a field is out of its range.
func (c *Config) checkLimits() error {
	switch {
	case c.SocketsPerServer < 0 || c.SocketsPerServer > maxSockets:
		return fmt.Errorf("dns: %w: SocketsPerServer is %d, not in the range from 1 to %d", misuse.ErrBadArgument, c.SocketsPerServer, maxSockets)
	case len(c.SourceAddrs) > maxSockets:
		return fmt.Errorf("dns: %w: SourceAddrs has %d addresses, more than %d", misuse.ErrBadArgument, len(c.SourceAddrs), maxSockets)
	case c.MaxQueriesPerServer < 0 || c.MaxRatePerServer < 0:
		return fmt.Errorf("dns: %w: MaxQueriesPerServer or MaxRatePerServer is negative", misuse.ErrBadArgument)
	}
	for _, a := range c.SourceAddrs {
		if !a.IsValid() || a.IsMulticast() {
			return fmt.Errorf("dns: %w: SourceAddrs has %v, which is no address of a host", misuse.ErrBadArgument, a)
		}
	}
	return nil
}

// limitsOf returns the limits of the exchanger of one of so many loops.
func (c *Config) limitsOf(loops int) limits {
	l := limits{queries: c.MaxInFlight, sockets: c.SocketsPerServer, sources: c.SourceAddrs}
	if c.MaxQueriesPerServer > 0 {
		l.perServer = max(c.MaxQueriesPerServer/loops, 1)
	}
	if c.MaxRatePerServer > 0 {
		l.interval = time.Second * time.Duration(loops) / time.Duration(c.MaxRatePerServer)
	}
	return l
}
