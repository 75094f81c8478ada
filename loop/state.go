package loop

import "fmt"

// The state of a connection.
//
// Its phase is how far it has come. All transitions:
//
//	connecting ──> open ──┬──> closing ──> lingering
//	                      ├──> failing
//	                      └──> detaching ──> detached
//
//	every phase except detached ──> released
//
// What holds in each phase:
//
//	            Data is called   writes are accepted   the driver receives
//	connecting  no               no                    no
//	open        yes              yes                   unless paused
//	failing     yes              no                    up to MaxUnread
//	detaching   no, it is paused no                    no
//	closing     no               no                    yes; bytes are dropped
//	lingering   no               no                    yes; bytes are dropped
//	released    no               no                    no
//	detached    no               no                    what it had received before
//
// Independent of the phase are:
//
//   - endRequested: a method that ends the connection was called; the phase changes when the loop
//     does the request.
//   - writeHalf: whether writes are accepted, and whether FIN has been sent.
//   - readEnded and eofPending (connFlags): the end of the stream was received, and is still to be
//     delivered. The second implies the first.
//   - pauses: why the driver does not receive.

// phase is written with mu held, by the loop only, which reads it without. Other goroutines must
// hold mu to read it. One write is not by the loop: cancelDial's, before the loop has taken the
// connection out of its inbox.
type phase uint8

const (
	connecting phase = iota
	open
	detaching // Detach: unsent bytes are being sent
	failing   // sending has failed: received bytes are still delivered
	closing   // Close: unsent bytes are being sent
	lingering // FIN is sent; waiting for the peer's
	// The last phases. Closed is called when the driver has called Released.
	released // the driver has been asked to release the stream
	detached // the driver has been asked to detach the stream
	phases   // their number
)

// transitions has the phases that may follow each phase.
var transitions = [phases][phases]bool{
	connecting: {open: true, released: true},
	open:       {detaching: true, failing: true, closing: true, released: true},
	detaching:  {detached: true, released: true},
	failing:    {released: true},
	closing:    {lingering: true, released: true},
	lingering:  {released: true},
}

func (p phase) String() string {
	if p >= phases {
		return fmt.Sprintf("phase %d", uint8(p))
	}
	return [phases]string{"connecting", "open", "detaching", "failing", "closing", "lingering", "released", "detached"}[p]
}

// gone reports whether the phase is the last.
func (p phase) gone() bool { return p >= released }

// intact reports whether the connection is open, or will be detached when everything is sent.
func (p phase) intact() bool { return p == open || p == detaching }

// delivers reports whether Data may be called, unless it is paused.
func (p phase) delivers() bool { return p >= open && p <= failing }

// enter changes the phase. mu must not be held.
func (c *Conn) enter(next phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enterLocked(next)
}

// enterLocked changes the phase. It panics if next may not follow the current phase.
func (c *Conn) enterLocked(next phase) {
	if next >= phases || !transitions[c.phase][next] {
		panic(fmt.Sprintf("loop: a connection cannot change from %v to %v", c.phase, next))
	}
	c.phase = next
}

// writeHalf is the state of the connection's sending half. It only advances.
type writeHalf uint8

const (
	writeOpen    writeHalf = iota
	finRequested           // by CloseWrite: FIN follows the unsent bytes
	finSent
	writeFailed // sending has failed with extras.sendFailed
)

func (w writeHalf) String() string {
	return [...]string{"open", "FIN requested", "FIN sent", "failed"}[w]
}

// advanceWriteHalfLocked changes writeHalf. It panics if that would go back.
func (c *Conn) advanceWriteHalfLocked(next writeHalf) {
	if next < c.writeHalf {
		panic(fmt.Sprintf("loop: a connection's sending half cannot change from %v to %v", c.writeHalf, next))
	}
	c.writeHalf = next
}

// failWritesLocked makes further writes return an error that wraps err.
func (c *Conn) failWritesLocked(err error) {
	c.advanceWriteHalfLocked(writeFailed)
	c.makeExtrasLocked().sendFailed = err
}

// endsLocked reports whether the connection is ending, or a method was called that ends it:
// further requests are refused with ErrClosed.
func (c *Conn) endsLocked() bool { return c.endRequested || c.phase >= closing }

// ends is endsLocked without mu held.
func (c *Conn) ends() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endsLocked()
}

// acceptsWritesLocked reports whether writes are accepted.
func (c *Conn) acceptsWritesLocked() bool {
	return c.phase == open && !c.endRequested && c.writeHalf == writeOpen
}

type connFlags uint8

const (
	sendPending connFlags = 1 << iota // the driver is still to call Sent
	readEnded                         // nothing more will be received
	eofPending                        // ReadClosed is to be called after what is unread
	hasIdleTimeout
	timingSend // bytes are unsent, and the peer's progress is timed
	stalled    // nothing is read because of back-pressure, and the peer has taken nothing for stalledAfter
)
