package loop

import (
	"net"
	"time"
)

// extras is state that few connections need.
type extras struct {
	// Guarded by the connection's mu.
	idleTimeout  time.Duration // as requested
	readDeadline int64         // as requested, on the loop's clock; 0: none
	next         Handler       // as requested
	detach       detachFunc    // as requested
	sendFailed   error         // why, if writeHalf is writeFailed
	rare         *rareExtras   // set once, by makeRareExtrasLocked
	remote       net.Addr
	endReason    error   // for Closed
	memberships  *member // of Fanouts, the first of a list

	// Accessed by the loop only.
	idleTimer           // lastActive is that of lingering, too
	read      readTimer // the read deadline in force
	linger    connTimer
	dial      *dialing // nil if it was accepted; set before the connection is shared

	layering *layering // guarded by mu: as requested by SetHandler; nil once the layer begins
}

// rareExtras is state that still fewer connections need.
type rareExtras struct {
	// Guarded by the connection's mu.
	closeReason     error         // given to CloseWith
	abortReason     error         // given to AbortWith
	resets          bool          // a reset follows what is unsent, not FIN
	context         *connContext  // nil until Context
	writeTimeout    time.Duration // as requested, if ownWriteTimeout
	ownWriteTimeout bool
	backpressure    backpressure // as requested
	watermarks      watermarks   // as requested, if the connection's watermark has ownWatermarks

	// Accessed by the loop only.
	progress
	kernelUnread unreadSample // since the idle timeout began
	lingerEnd    int64        // when lingering ends at the latest

	// Of a connection in phase failing.
	lastTurn uint64 // turn of the loop in which bytes were last received
	received int64  // bytes, since sending has failed
	due      int64  // value of received to wait for after lingerEnd; 0: lingerEnd has not passed
}

// makeExtrasLocked returns extras, creating it if needed. c.mu must be held, unless the
// connection is not shared yet.
func (c *Conn) makeExtrasLocked() *extras {
	if c.extras == nil {
		c.extras = &extras{}
	}
	return c.extras
}

// makeRareExtrasLocked returns rareExtras, creating it if needed. c.mu must be held.
func (c *Conn) makeRareExtrasLocked() *rareExtras {
	x := c.makeExtrasLocked()
	if x.rare == nil {
		x.rare = &rareExtras{}
	}
	return x.rare
}

// loadExtras returns extras, or nil. The loop needs it because other goroutines may create
// extras; the fields that only the loop accesses need no lock.
func (c *Conn) loadExtras() *extras {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.extras
}

// loadRareExtras is loadExtras for rareExtras.
func (c *Conn) loadRareExtras() *rareExtras {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.extras == nil {
		return nil
	}
	return c.extras.rare
}

// makeRareExtras is makeRareExtrasLocked without c.mu held, for the loop.
func (c *Conn) makeRareExtras() *rareExtras {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.makeRareExtrasLocked()
}
