package loop

import "fmt"

// connState is the state of a connection. Its methods must be called, and its fields written,
// with the connection's mu held.
//
// The phase is how far the connection has come. All transitions:
//
//	connecting ──> open ──┬──> closing ──> lingering
//	               ^ v    ├──> failing
//	             starting └──> detaching ──> detached
//
//	starting ──> closing, while its layer has not begun
//	every phase except detached ──> released
//
// A connection enters starting at most once: it has one layer at most.
//
// What holds in each phase:
//
//	            Data is called   writes are accepted   the driver receives
//	connecting  no               no                    no
//	starting    no               no                    for its layer only
//	open        yes              yes                   unless paused
//	failing     yes              no                    up to MaxUnreadBytes
//	detaching   no, it is paused no                    no
//	closing     no               no                    yes; bytes are dropped
//	lingering   no               no                    yes; bytes are dropped
//	released    no               no                    no
//	detached    no               no                    what it had received before
//
// Independent of the phase are:
//
//   - upcoming: the phase changes when the loop does the request.
//   - writeHalf: whether writes are accepted, and whether FIN has been sent.
//
// and, accessed by the loop only:
//
//   - readEnded and eofPending (connFlags): the end of the stream was received, and is still to be
//     delivered. The second implies the first.
//   - pauses: why the driver does not receive.
type connState struct {
	// The loop, which changes the phase, reads it without mu. The phase is changed by another
	// goroutine only before the loop has taken the connection out of its inbox (cancelDial).
	phase     phase
	upcoming  upcoming
	writeHalf writeHalf
}

// upcoming is what was requested and has not taken effect yet: a set of flags.
type upcoming uint8

const (
	endRequested   upcoming = 1 << iota // Close, Abort or Detach was called, or the dial was canceled
	layerRequested                      // accept has returned, or SetHandler got, a handler with a layer, which has not connected
)

// phase is how far a connection has come.
type phase uint8

const (
	connecting phase = iota
	starting         // its layer has not connected: see layer.go
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
	starting:   {open: true, closing: true, released: true},
	open:       {starting: true, detaching: true, failing: true, closing: true, released: true},
	detaching:  {detached: true, released: true},
	failing:    {released: true},
	closing:    {lingering: true, released: true},
	lingering:  {released: true},
}

func (p phase) String() string {
	if p >= phases {
		return fmt.Sprintf("phase %d", uint8(p))
	}
	return [phases]string{"connecting", "starting", "open", "detaching", "failing", "closing", "lingering", "released", "detached"}[p]
}

// gone reports whether the phase is the last.
func (p phase) gone() bool { return p >= released }

// intact reports whether the connection is open, or will be, or will be detached when everything is
// sent.
func (p phase) intact() bool { return p == open || p == detaching || p == starting }

// delivers reports whether Data may be called, unless it is paused.
func (p phase) delivers() bool { return p >= open && p <= failing }

// enterLocked changes the phase. It panics if next may not follow the current phase.
func (s *connState) enterLocked(next phase) {
	if next >= phases || !transitions[s.phase][next] {
		panic(fmt.Sprintf("loop: a connection cannot change from %v to %v", s.phase, next))
	}
	s.phase = next
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
func (s *connState) advanceWriteHalfLocked(next writeHalf) {
	if next < s.writeHalf {
		panic(fmt.Sprintf("loop: a connection's sending half cannot change from %v to %v", s.writeHalf, next))
	}
	s.writeHalf = next
}

// endsLocked reports whether the connection is ending, or a method was called that ends it:
// further requests are refused with ErrClosed.
func (s *connState) endsLocked() bool { return s.upcoming&endRequested != 0 || s.phase >= closing }

// acceptsWritesLocked reports whether writes are accepted.
func (s *connState) acceptsWritesLocked() bool {
	return *s == connState{phase: open, writeHalf: writeOpen}
}

// enter changes the phase. mu must not be held.
func (c *Conn) enter(next phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enterLocked(next)
}

// ends is endsLocked without mu held.
func (c *Conn) ends() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endsLocked()
}

// failWritesLocked makes further writes return an error that wraps err.
func (c *Conn) failWritesLocked(err error) {
	c.advanceWriteHalfLocked(writeFailed)
	c.makeExtrasLocked().sendFailed = err
}

type connFlags uint8

const (
	sendPending connFlags = 1 << iota // the driver is still to call Sent
	readEnded                         // nothing more will be received
	eofPending                        // ReadClosed is to be called after what is unread
	hasIdleTimeout
	timingSend // bytes are unsent, and the peer's progress is timed
	stalled    // nothing is read because of back-pressure, and the peer has taken nothing for stalledAfter
	hasLayer   // a layer is the stream's driver: it has started
)
