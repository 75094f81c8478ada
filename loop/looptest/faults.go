package looptest

import "github.com/pollux-io/pollux/internal/simnet"

// Faults are what goes wrong at random on the sockets of hosts, both those of loops and those of Conn,
// Listener and PacketConn. Each field is a probability, from 0 to 1.
type Faults struct {
	// PartialReads and PartialWrites are how often a call on a stream transfers only a part of what it
	// could: at least one byte.
	PartialReads, PartialWrites float64
	// WouldBlock is how often a read, a write or an accept would block though the socket is ready. An
	// event follows, and the next call does not.
	WouldBlock float64
	// Resets is how often a segment with bytes of a TCP connection resets it instead of arriving.
	Resets float64
	// NoDescriptors is how often a call that opens a descriptor fails with EMFILE: one that makes a
	// socket, or accepts.
	NoDescriptors float64
}

func (f Faults) validate() error { return (*simnet.Faults)(&f).Validate() }

// SetFaults replaces the faults of Config.Faults, for example when everything is connected.
func (n *Network) SetFaults(f Faults) {
	mustBeValid(f.validate())
	n.replaceFaults(f)
}

// replaceFaults sets the faults, and returns those before.
func (n *Network) replaceFaults(f Faults) (before Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before, n.faults = n.faults, f
	n.net.SetFaults(simnet.Faults(f))
	return before
}
