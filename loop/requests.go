package loop

// A request is an operation that another goroutine or a callback asks the loop to do. Requests of
// one connection are a set: they are done in the order of this list, and not in the order of the
// calls.
//
// All bits are in use, and a larger type would make Conn larger (TestConnSize): a new request that
// is seldom made shares the bit of one done at the same place, and its state in extras distinguishes
// the two.
type request uint16

const (
	// The beginning, and the end at once: nothing else is done then.
	wantDialCanceled request = 1 << iota // the dial was canceled before the loop saw it
	wantAttach
	wantAbort

	// Settings, which apply to everything below.
	wantHandler
	wantIdle
	wantRead
	wantPause // before wantResume: what Data has left is to be delivered again

	// Sending: what was written before CloseWrite, Close and Detach is sent before they act.
	wantFlush
	wantCloseWrite

	// The end, after which there are no callbacks except Closed.
	wantDetach
	wantClose

	// What runs callbacks. These come last, because a callback may change everything.
	wantResume
	wantDrained
	wantShutdown
	wantDeliver
	wantEnd // of a connection that is failing: after wantDeliver, which may leave nothing unread
)

// Requests that doRequests handles together.
const (
	beginRequests    = wantDialCanceled | wantAttach | wantAbort
	settingRequests  = wantHandler | wantIdle | wantRead | wantPause
	deliveryRequests = wantResume | wantDrained | wantShutdown | wantDeliver | wantEnd
)

// submit calls prepare with c.mu held, and submits r.
func (c *Conn) submit(op string, r request, prepare func()) error {
	c.mu.Lock()
	if c.endsLocked() {
		c.mu.Unlock()
		return c.opError(op, ErrClosed)
	}
	if prepare != nil {
		prepare()
	}
	c.submitAndUnlock(r)
	return nil
}

// submitAndUnlock adds a request and puts the connection into the inbox, unless it is there
// already or in a callback. c.mu must be held.
func (c *Conn) submitAndUnlock(r request) {
	c.requests |= r
	put := !c.queued && !c.inCallback()
	c.queued = c.queued || put
	c.mu.Unlock()
	if put {
		c.loop.put(op{conn: c}) // if the loop has ended, the connection has too
	}
}

// submitNextTurn submits a request from the loop, to be done in the next turn: so callbacks
// never nest, and a connection that submits again and again does not starve the others.
func (c *Conn) submitNextTurn(r request) {
	c.mu.Lock()
	if c.phase.gone() {
		c.mu.Unlock()
		return
	}
	c.submitAndUnlock(r)
}

// serve does the requests of a connection taken out of the inbox.
func (c *Conn) serve() {
	c.mu.Lock()
	c.queued = false
	r := c.requests
	c.requests = 0
	c.mu.Unlock()
	c.doRequests(r)
}

// servePending does pending requests before the driver's event is delivered: if Close, Pause or
// SetHandler has returned, it takes effect before the next Data, also when called between two
// callbacks of one turn.
func (c *Conn) servePending() {
	c.mu.Lock()
	asked := c.requests != 0
	c.mu.Unlock()
	if asked {
		c.serve()
	}
}

// doCallbackRequests does what callbacks have requested. Call it after keepUnread.
func (c *Conn) doCallbackRequests() {
	if r := c.callbackRequests; r != 0 {
		c.callbackRequests = 0
		c.doRequests(r)
	}
}

// doRequests does the given requests, in the order of their list.
func (c *Conn) doRequests(r request) {
	if r&beginRequests != 0 && !c.doBeginRequests(r) || c.phase.gone() {
		return
	}
	if r&settingRequests != 0 {
		c.doSettingRequests(r)
	}
	if r&wantFlush != 0 {
		c.flush()
	}
	if r&wantCloseWrite != 0 {
		c.leaveFanouts()
		c.sendFINIfDrained()
	}
	if r&wantDetach != 0 {
		c.beginDetach()
		return
	}
	if r&wantClose != 0 {
		c.closeWithReason()
		return
	}
	if r&deliveryRequests != 0 {
		c.doDeliveryRequests(r)
	}
}

// doBeginRequests reports whether the connection continues.
func (c *Conn) doBeginRequests(r request) bool {
	if r&wantDialCanceled != 0 {
		c.callDialed(nil)
		return false
	}
	if c.phase.gone() || r&wantAttach != 0 && !c.attach() {
		return false
	}
	if r&wantAbort != 0 {
		c.abort()
		return false
	}
	return true
}

func (c *Conn) doSettingRequests(r request) {
	if r&wantHandler != 0 {
		c.replaceHandler()
	}
	if r&(wantIdle|wantRead) != 0 {
		c.setDeadlines(r)
	}
	if r&wantPause != 0 && c.phase < closing { // Data may have paused, and then failed
		c.pause(byUser)
	}
}

// doDeliveryRequests checks the phase for each of them: the callback before may have ended the
// connection.
func (c *Conn) doDeliveryRequests(r request) {
	if r&wantResume != 0 && c.pauses&byUser != 0 {
		c.resume(byUser)
		c.restartIdle()
	}
	// The callbacks do these with their own requests: a wantEnd of theirs must not come before a
	// wantDeliver of r.
	c.callbackRequests |= r & (wantDeliver | wantEnd)
	if r&wantDrained != 0 && c.phase.delivers() && c.optional&hasDrained != 0 {
		c.callback(func() { c.handler.(DrainedHandler).Drained(c) })
	}
	if r&wantShutdown != 0 && c.phase.delivers() && c.optional&hasShutdown != 0 {
		c.callback(func() { c.handler.(ShutdownHandler).Shutdown(c) })
	}
	r = c.callbackRequests & (wantDeliver | wantEnd)
	c.callbackRequests &^= r
	if r&wantDeliver != 0 && c.phase.delivers() && c.pauses&^byUnread == 0 {
		c.deliverUnread()
	}
	if r != 0 { // a wantEnd that came before this wantDeliver has had no effect
		c.endFailing()
	}
}
