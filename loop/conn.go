package loop

import (
	"net"
	"sync"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sendqueue"
	"github.com/pollux-io/pollux/internal/unread"
)

// Conn is a connection of a loop. Its methods may be called from any goroutine and never block.
// Their errors are *net.OpErrors, which wrap ErrClosed once the connection is being closed.
type Conn struct {
	stream   driver.Stream
	loop     *Loop
	accepted *Listener // nil if it was dialed

	mu sync.Mutex

	// Guarded by mu.
	out      *sendqueue.Queue
	extras   *extras // set once
	requests request
	connState
	queued    bool // in the loop's inbox
	watermark watermark

	// Written by the loop, with mu held. The loop reads them without mu, other goroutines with it.
	optional optional // of handler
	handler  Handler

	// Accessed by the loop only.
	in               *unread.Buffer
	index            uint32  // in the loop's conns
	callbackRequests request // made in callbacks, for doCallbackRequests
	pauses           pause
	flags            connFlags
}

func (l *Loop) newConn() *Conn {
	c := &Conn{loop: l}
	c.stream.Up = (*upcalls)(c)
	return c
}

// Loop returns the connection's loop.
func (c *Conn) Loop() *Loop { return c.loop }

// Close sends the unsent bytes, then FIN, and waits for the peer to close its side, for up to
// Config.LingerTimeout; longer while the peer still takes what the system holds for it, up to
// Config.MaxLinger. No more can be written, and Data is not called any more. It is CloseWith(nil).
func (c *Conn) Close() error { return c.CloseWith(nil) }

// CloseWith is Close with a reason, which Closed gets: why, or an error that wraps it
// (errors.Is) if what was written could not be sent. If why is nil, Closed gets nil. If the
// connection has failed before, that is the first reason, and why the second.
func (c *Conn) CloseWith(why error) error {
	return c.submit("close", wantClose, func() {
		c.upcoming |= endRequested
		if why != nil {
			c.makeRareExtrasLocked().closeReason = why
		}
	})
}

// CloseWrite sends the unsent bytes, then FIN. Receiving continues. Further calls have no
// effect. After sending has failed the error wraps ErrClosed and the cause. With TLS, close_notify comes before FIN; if the
// handshake is not done, both follow it.
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
	c.upcoming |= endRequested
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

// Resume undoes Pause, however often that was called: Data is called with what it has left, even
// if no more has been received. If the handler has not paused, Resume has no effect.
func (c *Conn) Resume() error {
	// A pending Pause stays requested, and is done first: another goroutine may call Resume
	// before Data has returned, and what Data leaves must be delivered again.
	return c.submit("resume", wantResume, nil)
}

// SetHandler replaces the handler, even between two calls of Data: the new one gets what Data
// has left. The new handler's Opened is not called, nor its ReadClosed if another handler's has
// been called. A nil h is ErrBadArgument.
//
// A handler of package tlsconn begins TLS on the open connection (STARTTLS). The bytes written before are sent
// first, as they are; what Data has not consumed, and what follows, is for the handshake. From this call until
// the handshake is done, writes return ErrNotOpen, so that nothing is sent in plaintext by mistake, and no callback
// comes, except Closed if the connection ends; what Offload returns meanwhile comes after Opened, which is called
// on the handler above TLS. If SetHandler is called again before that, with a handler without TLS, its handler takes the
// place of the one above TLS. A second TLS is refused with errors.ErrUnsupported, and TLS after CloseWrite with
// ErrClosed. CloseWrite during the handshake takes effect after Opened. Close ends the connection at once
// during the handshake; before it has begun, the unsent bytes are sent, as usual.
func (c *Conn) SetHandler(h Handler) error {
	if h == nil {
		return c.opError("set handler", errNil("a handler"))
	}
	if l, ok := h.(layeredHandler); ok {
		return c.requestLayer(l)
	}
	return c.submit("set handler", wantHandler, func() { c.makeExtrasLocked().next = h })
}

// Handler returns the handler that SetHandler has set last, also before it gets its first
// callback, or otherwise the one that accept has returned. It is nil until accept has returned,
// unless accept calls SetHandler. It stays after the connection has ended. With a handler of package tlsconn it is the one
// above TLS.
func (c *Conn) Handler() Handler {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.extras != nil && c.extras.next != nil {
		return c.extras.next
	}
	if y := c.layering(); y != nil && y.inner != nil {
		return y.inner
	}
	return c.handler
}

// LocalAddr returns the local address; nil once the connection is closed.
func (c *Conn) LocalAddr() net.Addr { return c.stream.LocalNetAddr() }

// RemoteAddr returns the peer's address, or nil if it is not known. After a reset the system does
// not have it any more; the loop then knows that of its last 128 accepted TCP connections, except
// on io_uring, and those of dialed connections. A handler that needs the address in Closed stores it
// in Opened.
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

// keepRemoteAddr makes RemoteAddr return the present address when the system does not have it any
// more. c.mu must not be held.
func (c *Conn) keepRemoteAddr() {
	if addr := c.RemoteAddr(); addr != nil {
		c.mu.Lock()
		c.makeExtrasLocked().remote = addr
		c.mu.Unlock()
	}
}

// String returns the network and the addresses, such as "tcp 192.0.2.1:80->192.0.2.7:51234": the
// local one first, and "?" for one that is not known any more.
func (c *Conn) String() string {
	name := func(a net.Addr) string {
		if a == nil || a.String() == "" {
			return "?"
		}
		return a.String()
	}
	return c.network() + " " + name(c.LocalAddr()) + "->" + name(c.RemoteAddr())
}

// Unsent returns the number of unsent bytes.
func (c *Conn) Unsent() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unsentLocked()
}

// inCallback reports whether the connection is in a callback: requests made meanwhile are done
// when it returns, and writes go to the loop's staging buffer. Whether the callback has ended is
// only certain while c.mu is held.
func (c *Conn) inCallback() bool { return c.loop.running.Load() == c }

// opError returns err as a *net.OpError with the connection's addresses. c.mu must not be held.
func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

func (c *Conn) network() string {
	return handle.Of(&c.stream).Kind().Network()
}
