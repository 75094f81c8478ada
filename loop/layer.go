package loop

import (
	"errors"
	"fmt"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/layered"
)

// How a connection gets a layer (driver.Layer), such as TLS, which changes its bytes.
//
// A layer stands between the connection and the driver, so what this package does above it is the
// same. It begins in phase starting: when accept has returned a layeredHandler, or SetHandler got
// one. What was written before is sent without the layer; then the layer starts, with the bytes
// that are unread. It connects, and the connection is open, or opens again; writes are refused
// until then, so that nothing leaves without the layer by mistake.
//
// If it fails, the connection is released. An accepted or dialed one whose Opened was not called
// yet has no handler: Closed is not called, Dial returns the error, and Stats counts it.

// A layeredHandler stands for a handler above a layer. Its own Data is not called.
type layeredHandler interface {
	Handler
	// NewLayer returns a layer for the connection's stream. It is called on the loop, when Start is about
	// to be, and must not call methods of c that change it.
	NewLayer(c *Conn, above driver.Above) driver.Layer
	// Inner returns the handler of the connection above the layer. Any goroutine may call it.
	Inner() Handler
}

// layering is the beginning of a layer. Stream.Up is *upcalls without a layer, *layering from the time at which
// the connection enters phase starting, and the layer itself once that has connected: a connection that is
// open has no memory for its layer but the layer's own. Up is written by the loop, with mu held; the loop, and
// the driver, read it without mu, other goroutines with it.
type layering struct {
	driver.StreamUpcalls                // the connection's upcalls, and then the layer
	handler              layeredHandler // as requested; nil once layer is set
	layer                driver.Layer   // nil while something is unsent that was written before; guarded as Up is
	inner                Handler        // the connection's handler once it opens; nil: it has one already; guarded by mu
	postponed            []*offloaded   // ended work of Offload, while starting; accessed by the loop only
}

var (
	errSecondLayer  = fmt.Errorf("%w: the connection has a layer, such as TLS, and there cannot be a second one on top of it", errors.ErrUnsupported)
	errDetachLayer  = fmt.Errorf("%w: the connection has a layer, such as TLS, and its bytes have no meaning without it; close the connection instead", errors.ErrUnsupported)
	errEndedTooSoon = errors.New("the peer closed its side before the handshake")
)

func init() {
	layered.Of = func(conn any) driver.Layer {
		c := conn.(*Conn)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.plainLocked() {
			return nil
		}
		return c.layer()
	}
}

// layer returns the layer, or nil if it has not started. Stream.Up must not be *upcalls; a caller other than the
// loop must hold mu.
func (c *Conn) layer() driver.Layer {
	if y, ok := c.stream.Up.(*layering); ok {
		return y.layer
	}
	return c.stream.Up.(driver.Layer)
}

// layering returns the beginning of the layer, or nil. A caller other than the loop must hold mu.
func (c *Conn) layering() *layering {
	y, _ := c.stream.Up.(*layering)
	return y
}

// plainLocked reports whether no layer has begun. One may be requested. c.mu must be held.
func (c *Conn) plainLocked() bool {
	_, plain := c.stream.Up.(*upcalls)
	return plain
}

// layeredLocked reports whether a layer has begun, or SetHandler has requested one. c.mu must be held.
func (c *Conn) layeredLocked() bool {
	return !c.plainLocked() || c.extras != nil && c.extras.layering != nil
}

// wrapHandler, unless it is nil, changes the handlers that accept functions return. It is for tests.
var wrapHandler func(Handler) Handler

// driver returns what serves the connected stream: the layer, or the loop's driver.
func (c *Conn) driver() driver.StreamDriver {
	if c.flags&hasLayer != 0 {
		return c.layer()
	}
	return c.loop.drv
}

// checkLayered returns an error if h cannot be used.
func checkLayered(h layeredHandler) error {
	inner := h.Inner()
	if inner == nil {
		return errNil("a handler above the layer")
	}
	if _, ok := inner.(layeredHandler); ok {
		return errSecondLayer
	}
	return nil
}

// requestLayer is SetHandler of a handler with a layer.
func (c *Conn) requestLayer(h layeredHandler) error {
	const op = "set handler"
	if err := checkLayered(h); err != nil {
		return c.opError(op, err)
	}
	c.mu.Lock()
	var err error
	switch {
	case c.endsLocked() || c.writeHalf != writeOpen:
		err = c.writeErrorLocked()
	case c.layeredLocked():
		err = errSecondLayer
	}
	if err != nil {
		c.mu.Unlock()
		return c.opError(op, err)
	}
	x := c.makeExtrasLocked()
	x.layering, x.next = &layering{StreamUpcalls: (*upcalls)(c), handler: h}, h.Inner()
	c.upcoming |= layerRequested
	c.submitAndUnlock(wantHandler)
	return nil
}

// refuseWrites makes writes return ErrNotOpen from the moment at which accept has returned a handler with a
// layer: another goroutine that has got c from accept may write at any time, also before beginLayer.
func (c *Conn) refuseWrites() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.upcoming |= layerRequested
}

// beginFirstLayer begins the layer of a connection whose accept has returned h. Requests of accept are
// still to be done.
func (c *Conn) beginFirstLayer(h layeredHandler) error {
	if err := checkLayered(h); err != nil {
		return err
	}
	c.mu.Lock()
	if c.layeredLocked() { // accept has called SetHandler, too
		c.mu.Unlock()
		return errSecondLayer
	}
	ends := c.endsLocked()
	if ends {
		c.upcoming &^= layerRequested
	} else {
		c.stream.Up = &layering{StreamUpcalls: (*upcalls)(c), handler: h, inner: h.Inner()}
	}
	c.mu.Unlock()
	switch {
	case ends:
	case c.phase == failing: // sending what accept wrote has failed, and Data is not for a handler without Opened
		c.noteLayerFailed(c.endReason())
		c.release(c.endReason())
	default:
		c.beginLayer()
	}
	return nil
}

// beginLayer enters phase starting.
func (c *Conn) beginLayer() {
	receives := c.receives()
	c.enter(starting)
	if receives {
		c.loop.drv.Pause(&c.stream)
	}
	c.leaveFanouts()
	c.reopenDial()
}

// startLayerSoon calls startLayer outside of upcalls, as the layer may begin to receive.
func (c *Conn) startLayerSoon() {
	if c.layering().layer == nil {
		c.loop.putEnd(c.startLayer)
	}
}

// startLayer starts the layer, unless bytes are unsent, which includes those of a Send in flight, it was
// started, or the connection has ended meanwhile. The driver must not be in an upcall of the stream, except
// in Connected.
func (c *Conn) startLayer() {
	y := c.layering()
	if c.phase != starting || y.layer != nil || c.Unsent() > 0 {
		return
	}
	if c.flags&readEnded != 0 {
		c.fail(errEndedTooSoon)
		return
	}
	layer := y.handler.NewLayer(c, driver.Above{Stream: &c.stream, Driver: c.loop.drv, Up: (*upcalls)(c), Run: c.loop.runForLayers})
	c.mu.Lock()
	y.layer, y.handler, y.StreamUpcalls = layer, nil, layer
	c.mu.Unlock()
	c.flags |= hasLayer
	c.pauses &^= byUnread
	in := c.in
	c.in = nil
	if in == nil {
		layer.Start(nil)
		return
	}
	layer.Start(in.Bytes())
	in.Free()
}

// layerConnected handles the result of the layer's Start.
func (c *Conn) layerConnected(err error) {
	if err != nil {
		c.fail(err)
		return
	}
	y := c.layering()
	c.mu.Lock()
	c.enterLocked(open)
	c.upcoming &^= layerRequested
	if y.inner != nil {
		c.setHandlerLocked(y.inner)
		y.inner = nil
	}
	c.mu.Unlock()
	c.resumeReading() // what was unsent is sent
	c.restartIdle()
	c.callback(c.callOpened)
	if !c.phase.gone() {
		c.replaceHandler() // if SetHandler was called meanwhile
	}
	c.runPostponed()
	c.mu.Lock()
	c.stream.Up = y.layer // not before: a callback that ends the goroutine leaves what is postponed
	c.mu.Unlock()
	if c.phase.gone() {
		return // Released calls done
	}
	c.begin()
	c.flush() // FIN, if CloseWrite was called
	c.callDialed(nil)
}

// callOpened begins the handler of a connection that is open.
func (c *Conn) callOpened() {
	switch h := c.handler.(type) {
	case OpenedHandler:
		h.Opened(c)
	case installer:
		h.handlerInstalled(c)
	}
}

// noteLayerFailed accounts for the end of a connection in phase starting.
func (c *Conn) noteLayerFailed(why error) {
	l := c.loop
	l.counts.layerFailures++
	switch {
	case c.handler != nil || c.accepted == nil:
	case errors.Is(why, ErrBadArgument):
		c.logUnusable(why)
	default:
		l.g.logs.layers.Debug("pollux: a connection has ended before its handshake, and no handler is notified", "remote", c.RemoteAddr(), "error", why)
	}
}

// logUnusable logs that a handler with a layer cannot be used: a mistake of the program, which nothing else reports for a connection
// that was accepted.
func (c *Conn) logUnusable(why error) {
	if c.accepted != nil {
		c.loop.g.logs.layers.Error("pollux: an accepted connection is closed, because its handler cannot be used", "remote", c.RemoteAddr(), "error", why)
	}
}

// postpone keeps the result of an Offload while the connection is starting, and reports whether it
// does: its second half is called after Opened. The result stays reserved, so there is a bound.
func (c *Conn) postpone(o *offloaded) bool {
	if c.phase != starting {
		return false
	}
	y := c.layering()
	y.postponed = append(y.postponed, o)
	return true
}

// runPostponed calls, or drops, the second halves that were postponed.
func (c *Conn) runPostponed() {
	y := c.layering()
	for y != nil && len(y.postponed) > 0 {
		o := y.postponed[0]
		y.postponed[0] = nil
		y.postponed = y.postponed[1:]
		o.finish()
	}
}
