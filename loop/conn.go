package loop

import (
	"net"
	"sync"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
)

// Conn is a connection of a loop. Its methods may be called from any goroutine and never block.
// Their errors are *net.OpErrors, which wrap ErrClosed once the connection is being closed.
type Conn struct {
	stream   driver.Stream
	loop     *Loop
	accepted *Listener // nil if it was dialed

	mu sync.Mutex

	// Guarded by mu.
	out          *sendQueue
	extras       *extras // set once
	requests     request
	endRequested bool // Close, Abort or Detach was called, or the dial was canceled
	writeHalf    writeHalf
	queued       bool // in the loop's inbox
	crossed      bool // above the high watermark, or a write was refused, and not down to the low one since

	// Written by the loop, with mu held. The loop reads them without mu, other goroutines with it.
	phase    phase
	optional optional // of handler
	handler  Handler

	// Accessed by the loop only.
	in               *unread
	index            uint32  // in the loop's conns
	callbackRequests request // made in callbacks, for doCallbackRequests
	pauses           pause
	flags            connFlags
}

// extras is state that few connections need.
type extras struct {
	idleTimeout  time.Duration // as requested; guarded by mu
	readDeadline int64         // as requested, on the loop's clock, 0 for none; guarded by mu
	next         Handler       // as requested; guarded by mu
	detach       detachFunc    // as requested; guarded by mu
	sendFailed   error         // the error of sending; guarded by mu
	rare         *rareExtras   // set once, by makeRareExtrasLocked

	idle, read, linger connTimer
	lastActive         int64
	activeReadDeadline int64    // the read deadline in force; 0: none
	dial               *dialing // nil if it was accepted
	remote             net.Addr
	endReason          error // the reason of the end
}

// rareExtras is state that still fewer connections need.
type rareExtras struct {
	// Guarded by the connection's mu.
	closeReason     error         // given to CloseWith
	abortReason     error         // given to AbortWith
	context         *connContext  // nil until Context
	writeTimeout    time.Duration // as requested, if ownWriteTimeout
	ownWriteTimeout bool
	backpressure    backpressure // as requested

	// Accessed by the loop only.
	progress
	kernelUnread  int   // bytes in the kernel's receive buffer at the last sample
	unreadSampled bool  // kernelUnread is from after the idle timeout began
	readSuspended int64 // when the read deadline was suspended; 0: it runs
	lingerEnd     int64 // when lingering ends at the latest

	// Of a connection in phase failing.
	lastTurn uint64 // turn of the loop in which bytes were last received
	received int64  // bytes, since sending has failed
	due      int64  // value of received to wait for after lingerEnd; 0: lingerEnd has not passed
}

// A request is an operation that another goroutine or a callback asks the loop to do.
type request uint16

const (
	wantAttach request = 1 << iota
	wantFlush
	wantDeliver
	wantDrained
	wantClose
	wantCloseWrite
	wantAbort
	wantPause
	wantResume
	wantIdle
	wantRead
	wantHandler
	wantDetach
	wantShutdown
	wantDialCanceled // the dial was canceled before the loop saw it
	wantEnd          // of a connection that is failing
)

// pause is a set of reasons why the driver does not receive.
type pause uint8

const (
	byUser pause = 1 << iota
	byWatermark
	byUnread // what is unread may still be delivered
)

// optional is the set of optional interfaces that the handler implements.
type optional uint8

const (
	hasReadClosed optional = 1 << iota
	hasDrained
	hasClosed
	hasShutdown
)

type connFlags uint8

const (
	sendPending connFlags = 1 << iota // the driver is still to call Sent
	readEnded                         // nothing more will be received
	eofPending                        // ReadClosed is to be called after what is unread
	hasIdleTimeout
	timingSend // bytes are unsent, and the peer's progress is timed
	stalled    // nothing is read because of back-pressure, and the peer has taken nothing for stalledAfter
)

func (l *Loop) newConn() *Conn {
	c := &Conn{loop: l}
	c.stream.Up = (*upcalls)(c)
	return c
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

// inCallback reports whether the connection is in a callback: requests made meanwhile are done
// when it returns, and writes go to the loop's staging buffer. Whether the callback has ended is
// only certain while c.mu is held.
func (c *Conn) inCallback() bool { return c.loop.running.Load() == c }

// endReason returns the reason why the connection ends.
func (c *Conn) endReason() error {
	c.mu.Lock() // other goroutines may create extras
	defer c.mu.Unlock()
	if c.extras == nil {
		return nil
	}
	return c.extras.endReason
}

func (c *Conn) setEndReason(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setEndReasonLocked(why)
}

func (c *Conn) setEndReasonLocked(why error) {
	if why != nil || c.extras != nil {
		c.makeExtrasLocked().endReason = why
	}
}

// Loop returns the connection's loop.
func (c *Conn) Loop() *Loop { return c.loop }

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

// opError returns err as a *net.OpError with the connection's addresses. c.mu must not be held.
func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

func (c *Conn) network() string {
	return c.stream.PollHandle().Kind().Network()
}

// Close sends the unsent bytes, then FIN, and waits for the peer to close its side, for up to
// Config.LingerTimeout. No more can be written, and Data is not called any more. It is
// CloseWith(nil).
func (c *Conn) Close() error { return c.CloseWith(nil) }

// CloseWith is Close with a reason, which Closed gets: why, or an error that wraps it
// (errors.Is) if what was written could not be sent. If why is nil, Closed gets nil. If the
// connection has failed before, that is the first reason, and why the second.
func (c *Conn) CloseWith(why error) error {
	return c.submit("close", wantClose, func() {
		c.endRequested = true
		if why != nil {
			c.makeRareExtrasLocked().closeReason = why
		}
	})
}

// CloseWrite sends the unsent bytes, then FIN. Receiving continues. Further calls have no
// effect. After sending has failed the error wraps ErrClosed and the cause.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	if c.endsLocked() || c.writeHalf == writeFailed {
		err := c.writeErrorLocked()
		c.mu.Unlock()
		return c.opError("close write", err)
	}
	if c.writeHalf == writeOpen {
		c.advanceWriteHalfLocked(finRequested)
	}
	c.submitAndUnlock(wantCloseWrite)
	return nil
}

// Abort drops the unsent bytes and resets the connection, even one that is being closed. Closed
// gets ErrAborted.
func (c *Conn) Abort() error { return c.AbortWith(nil) }

// AbortWith is Abort with a reason, which Closed gets instead of ErrAborted, unless it is nil.
// If the connection was ending for another reason already, Closed gets an error that wraps both.
func (c *Conn) AbortWith(why error) error {
	c.mu.Lock()
	if c.phase.gone() {
		c.mu.Unlock()
		return c.opError("abort", ErrClosed)
	}
	c.endRequested = true
	if why != nil {
		c.makeRareExtrasLocked().abortReason = why
	}
	c.submitAndUnlock(wantAbort)
	return nil
}

// Pause stops receiving: Data and ReadClosed are not called until Resume. A handler may stay
// paused as long as it likes: the idle timeout is suspended. A read deadline and the write
// timeout keep running, and a peer that has reset the connection, or does not answer the
// keep-alive probes, is detected: then Closed is called immediately if nothing is unread, and
// otherwise after Resume and Data. What Data has left is delivered again after Resume. In a
// callback Pause takes effect when that returns: Data should return then, and leave the rest.
func (c *Conn) Pause() error {
	return c.submit("pause", wantPause, func() { c.requests &^= wantResume })
}

// Resume undoes Pause.
func (c *Conn) Resume() error {
	// A pending Pause stays requested, and is done first: another goroutine may call Resume
	// before Data has returned, and what Data leaves must be delivered again.
	return c.submit("resume", wantResume, nil)
}

// SetNoDelay switches Nagle's algorithm off (true, the default) or on. The error is ErrClosed,
// or the system's, such as for a Unix socket.
func (c *Conn) SetNoDelay(on bool) error {
	if c.ends() {
		return c.opError("set TCP_NODELAY", ErrClosed)
	}
	return c.stream.SetNoDelay(on)
}

// SetHandler replaces the handler, even between two calls of Data: the new one gets what Data
// has left. The new handler's Opened is not called, nor its ReadClosed if another handler's has
// been called. It must not be nil.
func (c *Conn) SetHandler(h Handler) error {
	if h == nil {
		return c.opError("set handler", errNil("a handler"))
	}
	return c.submit("set handler", wantHandler, func() { c.makeExtrasLocked().next = h })
}

// LocalAddr returns the local address; nil once the connection is closed.
func (c *Conn) LocalAddr() net.Addr { return c.stream.LocalNetAddr() }

// RemoteAddr returns the peer's address, or nil if it is not known. If the peer had reset the
// connection before it was accepted, it is unknown on io_uring, and in Closed if it was not
// asked for before and many other connections have been accepted since.
func (c *Conn) RemoteAddr() net.Addr {
	if a := c.stream.RemoteNetAddr(); a != nil {
		return a
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.extras != nil && c.extras.remote != nil {
		return c.extras.remote
	}
	if c.accepted == nil {
		return nil
	}
	if a := c.loop.peers.lookup(c); a != nil {
		c.makeExtrasLocked().remote = a
		return a
	}
	return nil
}

// Unsent returns the number of unsent bytes.
func (c *Conn) Unsent() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unsentLocked()
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

// doRequests does the given requests. Those that run a callback come last.
func (c *Conn) doRequests(r request) {
	if r&wantDialCanceled != 0 {
		c.callDialed(nil)
	}
	if c.phase.gone() || r == 0 {
		return
	}
	if r&wantAttach != 0 && !c.attach() {
		return
	}
	if r&wantAbort != 0 {
		c.abort()
		return
	}
	if r&wantHandler != 0 {
		c.replaceHandler()
	}
	if r&(wantIdle|wantRead) != 0 {
		c.setDeadlines(r)
	}
	if r&wantPause != 0 && c.phase < closing { // Data may have paused, and then failed
		c.pause(byUser)
	}
	if r&wantFlush != 0 {
		c.flush()
	}
	if r&wantCloseWrite != 0 {
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
	if r&wantResume != 0 && c.pauses&byUser != 0 {
		c.resume(byUser)
		c.restartIdle()
	}
	if r&wantDrained != 0 && c.phase.delivers() && c.optional&hasDrained != 0 {
		c.callback(func() { c.handler.(DrainedHandler).Drained(c) })
	}
	if r&wantShutdown != 0 && c.phase.delivers() && c.optional&hasShutdown != 0 {
		c.callback(func() { c.handler.(ShutdownHandler).Shutdown(c) })
	}
	if r&wantDeliver != 0 && c.phase.delivers() && c.pauses&^byUnread == 0 {
		c.deliverUnread()
	}
	if r&wantEnd != 0 {
		c.endFailing()
	}
}

func (c *Conn) replaceHandler() {
	c.mu.Lock()
	h := c.extras.next
	c.extras.next = nil
	c.mu.Unlock()
	if h != nil {
		c.setHandler(h)
		c.submitNextTurn(wantDeliver)
	}
}

func (c *Conn) setHandler(h Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handler, c.optional = h, 0
	if _, ok := h.(ReadClosedHandler); ok {
		c.optional |= hasReadClosed
	}
	if _, ok := h.(DrainedHandler); ok {
		c.optional |= hasDrained
	}
	if _, ok := h.(ClosedHandler); ok {
		c.optional |= hasClosed
	}
	if _, ok := h.(ShutdownHandler); ok {
		c.optional |= hasShutdown
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

func (c *Conn) pause(why pause) {
	received := c.receives()
	c.pauses |= why
	if received && !c.receives() {
		c.loop.drv.Pause(&c.stream)
	}
}

func (c *Conn) resume(why pause) {
	if c.pauses&why == 0 {
		return
	}
	c.pauses &^= why
	if c.pauses&^byUnread == 0 && (c.in != nil || c.flags&eofPending != 0) {
		c.submitNextTurn(wantDeliver)
	}
	if c.receives() {
		c.loop.drv.Resume(&c.stream)
	}
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
