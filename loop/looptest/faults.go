package looptest

import "github.com/pollux-io/pollux/internal/simnet"

// Faults are what goes wrong at random on the sockets of hosts, both those of loops and those of Conn,
// Listener and PacketConn. Each field is a probability, from 0 to 1.
type Faults struct {
	// PartialReads and PartialWrites are how often a call on a stream transfers only a part of what it
	// could: at least one byte.
	PartialReads, PartialWrites float64
	// WouldBlock is how often a read, a write or an accept finds nothing to do, though there is
	// something: it is repeated later.
	WouldBlock float64
	// Resets is how often a segment of a TCP connection resets it instead of arriving.
	Resets float64
}

func (f Faults) mustBeValid(name string) {
	mustBeProbability(name+".PartialReads", f.PartialReads)
	mustBeProbability(name+".PartialWrites", f.PartialWrites)
	mustBeProbability(name+".WouldBlock", f.WouldBlock)
	mustBeProbability(name+".Resets", f.Resets)
}

// SetFaults replaces the faults of Config.Faults, for example when everything is connected.
func (n *Network) SetFaults(f Faults) {
	f.mustBeValid("Faults")
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

func (c Config) mustBeValid() {
	c.Link.mustBeValid("Config.Link")
	c.Faults.mustBeValid("Config.Faults")
	c.Adversity.mustBeValid("Config.Adversity")
}
