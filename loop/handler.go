package loop

import "fmt"

// A Handler is protocol code for one connection. It holds the connection's state: a listener's
// accept function makes one for each connection.
//
// Data gets all bytes received and not yet consumed, and returns how many of them it consumed;
// the rest is delivered again, together with the bytes that follow, up to Config.MaxUnreadBytes. b
// belongs to the loop and is valid until Data returns; Data may change it, but changes to
// unconsumed bytes may or may not be kept. An error closes the connection as CloseWith does:
// unsent bytes are sent, then FIN, and the loop waits for the peer to close its side for up to
// Config.LingerTimeout; after AbortWith it does not.
//
// If the peer resets the connection, or sending to it fails, Data still gets everything that was
// received before, in order, and then Closed is called; a handler that has paused gets it after
// Resume. Until then writes are refused (ErrClosed, with the cause), and Conn.Context is
// canceled.
//
// A callback that has called Pause, Close, Detach or SetHandler should return: they take effect
// then.
//
// Which of the optional interfaces below a handler implements is checked once, when it becomes
// the connection's handler.
type Handler interface {
	Data(c *Conn, b []byte) (consumed int, err error)
}

// OpenedHandler is a Handler that is notified when the connection is open: Opened is called once,
// before all other callbacks. For a dialed connection the order is: the function given to Dial,
// which returns the handler; Opened; then Dial returns, or Loop.Dial's done is called. If the
// connection ends in one of the first two, done gets the error, and then Closed is called.
//
// With a handler of package tlsconn, Opened is called when the handshake is done. If the handshake
// fails, a connection that was accepted, attached or dialed has had no handler: neither Opened nor Closed is called.
type OpenedHandler interface{ Opened(c *Conn) }

// ReadClosedHandler is a Handler that is notified when the peer has closed its side (FIN):
// ReadClosed is called once, after Data has been called with all bytes before that. A handler
// without it has its connection closed then, after unsent bytes are sent. Data may be called with
// what it has left once more afterwards, without new bytes: after Resume, after SetHandler (the new
// handler gets it, and no ReadClosed of its own), or with Drained. ReadClosed is not called after
// the connection has failed: the end of the stream after a reset does not prove that the peer
// closed it.
type ReadClosedHandler interface{ ReadClosed(c *Conn) }

// DrainedHandler is a Handler that is notified when the peer has taken most of the unsent bytes:
// Drained is called when they have fallen to the low watermark, after they were above the high one
// or a write was refused with ErrBufferFull. If sending fails before that, they are dropped, and it
// is called as well: from then on writes return the error.
type DrainedHandler interface{ Drained(c *Conn) }

// ClosedHandler is a Handler that is notified of the end: Closed is called last, once. why is nil
// after Close, io.EOF if the peer closed, the error given to CloseWith or AbortWith, and otherwise
// the failure: a *net.OpError (ECONNRESET, EPIPE; ETIMEDOUT by keep-alive), ErrTimeout,
// ErrWriteTimeout, ErrLingerTimeout, ErrUnreadFull, ErrAborted, ErrShutdown, ErrDetached,
// *PanicError, the error that Data returned. After CloseWith, an error of Data or ErrUnreadFull,
// unsent bytes are still sent; if that fails, why wraps both errors. It also wraps both if a
// connection that has failed is then ended for another reason. Test it with errors.Is.
type ClosedHandler interface{ Closed(c *Conn, why error) }

// ShutdownHandler is a Handler that is notified when the group begins to shut down
// (Group.Shutdown): if the protocol is idle, it should close the connection then, or as soon as it
// is.
type ShutdownHandler interface{ Shutdown(c *Conn) }

// optional is the set of optional interfaces that the handler implements.
type optional uint8

const (
	hasReadClosed optional = 1 << iota
	hasDrained
	hasClosed
	hasShutdown
)

func (c *Conn) setHandler(h Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setHandlerLocked(h)
}

func (c *Conn) setHandlerLocked(h Handler) {
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

// An installer is a handler of this package that needs to know when SetHandler has taken effect:
// on the loop, outside of callbacks, and perhaps only when the connection is gone.
type installer interface{ handlerInstalled(c *Conn) }

func (c *Conn) replaceHandler() {
	c.mu.Lock()
	x, y := c.extras, c.layering()
	if x == nil || x.next == nil || y != nil && y.inner != nil { // accept's handler gets Opened first: layerConnected calls again
		c.mu.Unlock()
		return
	}
	h := x.next
	x.next = nil
	c.setHandlerLocked(h)                    // at once, for Handler
	begins := c.upcoming&layerRequested != 0 // and the layer has not connected
	if begins && c.phase == open {
		c.stream.Up, x.layering = x.layering, nil
	}
	c.mu.Unlock()
	switch {
	case begins && c.phase == open:
		c.beginLayer()
		c.startLayerSoon()
	case begins && c.phase == failing:
		c.dropUnread() // it is not for the handler above the layer
		c.release(c.endReason())
	case !begins:
		if i, ok := h.(installer); ok {
			i.handlerInstalled(c)
		}
		c.submitNextTurn(wantDeliver)
	}
}

// handlerName may be called from any goroutine.
func (c *Conn) handlerName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("%T", c.handler)
}
