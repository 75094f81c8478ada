package loop

import (
	"net"
	"sync"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
)

// Conn is a connection of a loop. Its methods may be called from any goroutine and
// never block. Their errors are *net.OpErrors, and wrap ErrClosed once the connection is
// being closed.
type Conn struct {
	stream driver.Stream
	loop   *Loop

	mu        sync.Mutex // guards up to the blank line
	requests  request
	shut      shutState
	writeShut bool // CloseWrite
	queued    bool // in the loop's inbox
	crossed   bool // above the high watermark, since the low one

	// The rest is the loop's own, but for out and extras, which mu guards.
	optional         optional
	flags            connFlags
	out              *sendQueue
	extras           *extras // set once
	handler          Handler
	accepted         *Listener // nil if it was dialed
	in               *unread
	index            uint32  // in the loop's conns
	callbackRequests request // by callbacks, for settle
	pauses           pause
	phase            phase
}

// shutState says whether anything more can be asked of a connection.
type shutState uint8

const (
	notShut  shutState = iota
	ending             // Close, Abort, Detach, or the dial was given up
	released           // the driver has been asked to release it
)

// extras is what few connections need.
type extras struct {
	idleTimeout  time.Duration // as asked for; guarded by mu
	readDeadline int64         // as asked for, on the loop's clock, 0 for none; guarded by mu
	next         Handler       // as asked for; guarded by mu
	detach       detachFunc    // as asked for; guarded by mu
	sendFailed   error         // how sending has failed; guarded by mu
	rare         *rareExtras   // set once, by rare

	idle, read, linger connTimer
	lastActive         int64
	activeReadDeadline int64    // when the read deadline is; 0: there is none
	dial               *dialing // nil if it was accepted
	remote             net.Addr
	endReason          error // why it ends
}

// rareExtras is what still fewer connections need.
type rareExtras struct {
	// Guarded by the connection's mu.
	closeReason     error         // given to CloseWith
	abortReason     error         // given to AbortWith
	context         *connContext  // nil until Context
	writeTimeout    time.Duration // as asked for, if ownWriteTimeout
	ownWriteTimeout bool
	backpressure    backpressure // as asked for

	// The loop's own.
	progress
	kernelUnread  int   // what the kernel held to be read, if looked
	unreadSampled bool  // peerIsActive has looked since the idle timeout began
	readSuspended int64 // since when the read deadline stands still; 0: it runs
	lingerEnd     int64 // when lingering ends at the latest

	// Of a connection that is failing.
	lastTurn uint64 // of the loop, in which something was received
	received int64  // since sending has failed
	due      int64  // of that, what is waited for after lingerEnd; 0: that has not come
}

// A request is something that another goroutine, or a callback, wants done.
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
	wantDialCanceled // a dial that was given up before the loop saw it
	wantEnd          // of a connection that has failed
)

// pause says why nothing is received.
type pause uint8

const (
	byUser pause = 1 << iota
	byWatermark
	byUnread // what is there may be delivered all the same
	byConnecting
)

type phase uint8

const (
	connecting phase = iota
	open
	failing   // sending has failed: what was received is still delivered
	closing   // Close: what is left is being sent
	lingering // FIN is sent; the peer's is awaited
	gone      // released; Closed is told when the driver is done
)

// optional says which optional interfaces the handler has.
type optional uint8

const (
	hasReadClosed optional = 1 << iota
	hasDrained
	hasClosed
	hasShutdown
)

type connFlags uint8

const (
	sendPending    connFlags = 1 << iota // the driver owes Sent
	detaching                            // Detach waits for everything to be sent
	finSent                              // FIN has been sent
	readEnded                            // nothing more will be received
	eofPending                           // ReadClosed is owed, after what is unread
	hasIdleTimeout                       // has an idle timeout
	timingSend                           // bytes are unsent, and it is timed whether the peer takes them
	stalled                              // nothing is read because of back-pressure, and the peer has taken nothing for stalledAfter
)

func (l *Loop) newConn() *Conn {
	c := &Conn{loop: l}
	c.stream.Up = (*upcalls)(c)
	return c
}

// more returns extras; mu is held, or the connection is not shared yet.
func (c *Conn) makeExtrasLocked() *extras {
	if c.extras == nil {
		c.extras = &extras{}
	}
	return c.extras
}

// rare returns rareExtras; mu must be held.
func (c *Conn) makeRareExtrasLocked() *rareExtras {
	x := c.makeExtrasLocked()
	if x.rare == nil {
		x.rare = &rareExtras{}
	}
	return x.rare
}

// loadExtras returns extras, nil if there are none, for the loop: others may make them. The
// loop's own part needs no lock.
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

// makeRareExtras is rare for the loop, without mu.
func (c *Conn) makeRareExtras() *rareExtras {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.makeRareExtrasLocked()
}

// calling says whether the connection is in a callback: what is asked for meanwhile is
// done when it returns, and what is written goes to the loop's stage. That a callback
// ends is seen with mu held only.
func (c *Conn) inCallback() bool { return c.loop.running.Load() == c }

// because returns why the connection ends.
func (c *Conn) endReason() error {
	c.mu.Lock() // others may make extras
	defer c.mu.Unlock()
	if c.extras == nil {
		return nil
	}
	return c.extras.endReason
}

func (c *Conn) setEndReason(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if why != nil || c.extras != nil {
		c.makeExtrasLocked().endReason = why
	}
}

// Loop returns the connection's loop.
func (c *Conn) Loop() *Loop { return c.loop }

// ask has the loop do r, after prepare, which runs with mu held.
func (c *Conn) submit(op string, r request, prepare func()) error {
	c.mu.Lock()
	if c.shut != notShut {
		c.mu.Unlock()
		return c.failure(op, ErrClosed)
	}
	if prepare != nil {
		prepare()
	}
	c.submitAndUnlock(r)
	return nil
}

// submitAndUnlock notes a request; mu is held. The connection is in the inbox once,
// whatever is asked, and not at all while it is in a callback.
func (c *Conn) submitAndUnlock(r request) {
	c.requests |= r
	put := !c.queued && !c.inCallback()
	c.queued = c.queued || put
	c.mu.Unlock()
	if put {
		c.loop.put(op{conn: c}) // a loop that has ended has no connection left to ask
	}
}

// failure makes an error that says what was attempted, and with whom; mu is not held.
func (c *Conn) failure(op string, err error) error {
	return &net.OpError{Op: op, Net: c.network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

func (c *Conn) network() string {
	return c.stream.PollHandle().Kind().Network()
}

// Close sends what was written, then FIN, and waits for the peer's end, as long as
// Config.LingerTimeout allows. Nothing more can be written, and nothing is handed to Data.
// It is CloseWith(nil).
func (c *Conn) Close() error { return c.CloseWith(nil) }

// CloseWith is Close with a reason, which Closed gets: why, or an error that wraps it
// (errors.Is) if what was written could not be sent after all. nil is no reason: Closed gets
// nil then. If the connection has failed before, that is the first reason, and why
// the second.
func (c *Conn) CloseWith(why error) error {
	return c.submit("close", wantClose, func() {
		c.shut = ending
		if why != nil {
			c.makeRareExtrasLocked().closeReason = why
		}
	})
}

// CloseWrite sends what was written, then FIN. Receiving goes on. Called again, it has no
// effect. After sending has failed the error wraps ErrClosed and the cause.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	if c.shut != notShut || c.extras != nil && c.extras.sendFailed != nil {
		err := c.writeErrorLocked()
		c.mu.Unlock()
		return c.failure("close write", err)
	}
	c.writeShut = true
	c.submitAndUnlock(wantCloseWrite)
	return nil
}

// Abort drops what is still to be sent and resets the connection, also one that is
// being closed. Closed gets ErrAborted.
func (c *Conn) Abort() error { return c.AbortWith(nil) }

// AbortWith is Abort with a reason, which Closed gets instead of ErrAborted, unless it is nil.
// Of a connection that was ending for a reason already, Closed gets an error that wraps both.
func (c *Conn) AbortWith(why error) error {
	c.mu.Lock()
	if c.shut == released {
		c.mu.Unlock()
		return c.failure("abort", ErrClosed)
	}
	c.shut = ending
	if why != nil {
		c.makeRareExtrasLocked().abortReason = why
	}
	c.submitAndUnlock(wantAbort)
	return nil
}

// Pause stops receiving: Data and ReadClosed are not called until Resume. A handler may defer
// reading as long as it likes: the idle timeout stands still meanwhile. A read deadline runs
// on, as does the write timeout, and a peer that has reset the connection, or does not answer
// the probes of keep-alive, is found out: then Closed comes at once if nothing is unread, and
// else after Resume and Data. What Data has left comes again after Resume. In a
// callback it takes effect when that returns: Data is to return then, and leave the rest.
func (c *Conn) Pause() error {
	return c.submit("pause", wantPause, func() { c.requests &^= wantResume })
}

// Resume ends what Pause began.
func (c *Conn) Resume() error {
	// A Pause that has not been done yet stays asked for, and comes first: Resume may come
	// from another goroutine before Data has returned, and what it left must come again.
	return c.submit("resume", wantResume, nil)
}

// SetNoDelay switches Nagle's algorithm off, as it is at first, or on. The error is
// ErrClosed, or the system's, as it is for a Unix socket.
func (c *Conn) SetNoDelay(on bool) error {
	c.mu.Lock()
	shut := c.shut
	c.mu.Unlock()
	if shut != notShut {
		return c.failure("set TCP_NODELAY", ErrClosed)
	}
	return c.stream.SetNoDelay(on)
}

// SetHandler replaces the handler, in mid-stream too: what Data has left goes to the
// new one. Opened of the new one is not called, nor is ReadClosed if it has been called of
// another. It must not be nil.
func (c *Conn) SetHandler(h Handler) error {
	if h == nil {
		return c.failure("set handler", errNil("a handler"))
	}
	return c.submit("set handler", wantHandler, func() { c.makeExtrasLocked().next = h })
}

// LocalAddr returns this side's address; nil once the connection is closed.
func (c *Conn) LocalAddr() net.Addr { return c.stream.LocalNetAddr() }

// RemoteAddr returns the peer's address, nil if it is not known: of a peer that had reset
// the connection before it was accepted, it is not on io_uring, nor, where it was not asked
// for before, in Closed of a connection that many others have followed.
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

// Unsent returns how many bytes wait to be sent.
func (c *Conn) Unsent() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unsentLocked()
}

// serve does what was asked of a connection in the inbox.
func (c *Conn) serve() {
	c.mu.Lock()
	c.queued = false
	r := c.requests
	c.requests = 0
	c.mu.Unlock()
	c.doRequests(r)
}

// do does what was asked for. What leads to a callback comes last.
func (c *Conn) doRequests(r request) {
	if c.phase == gone || r == 0 {
		return
	}
	if r&wantDialCanceled != 0 {
		c.phase = gone
		c.callDialed(nil)
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
	if r&wantPause != 0 && c.phase < closing { // Data may have paused, and failed
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
	if r&wantDrained != 0 && c.delivers() && c.optional&hasDrained != 0 {
		c.callback(func() { c.handler.(DrainedHandler).Drained(c) })
	}
	if r&wantShutdown != 0 && c.delivers() && c.optional&hasShutdown != 0 {
		c.callback(func() { c.handler.(ShutdownHandler).Shutdown(c) })
	}
	if r&wantDeliver != 0 && c.delivers() && c.pauses&^byUnread == 0 {
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
	c.mu.Lock() // for handlerName; nobody else writes it
	c.handler = h
	c.mu.Unlock()
	c.optional = 0
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

// submitNextTurn has something done in the next turn: so one callback never runs inside
// another, and a connection that asks again and again does not keep the others from
// their turn.
func (c *Conn) submitNextTurn(r request) {
	c.mu.Lock()
	if c.shut == released {
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

// servePending does what was asked for before the driver's news: on the loop too, between two
// callbacks, a Close, Pause or SetHandler that has returned comes before the next Data.
func (c *Conn) servePending() {
	c.mu.Lock()
	asked := c.requests != 0
	c.mu.Unlock()
	if asked {
		c.serve()
	}
}
