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

// layering is the layer of a connection, and what its beginning needs.
type layering struct {
	handler   layeredHandler // as requested; nil once layer is set
	layer     driver.Layer   // nil while something is unsent that was written before; guarded by mu
	inner     Handler        // the connection's handler once it opens; nil: it has one already; guarded by mu
	postponed []*offloaded   // ended work of Offload, while starting; accessed by the loop only
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
		if c.extras == nil || c.extras.layering == nil {
			return nil
		}
		return c.extras.layering.layer
	}
}

// wrapHandler, unless it is nil, changes the handlers that accept functions return. It is for tests.
var wrapHandler func(Handler) Handler

// driver returns what serves the connected stream: the layer, or the loop's driver.
func (c *Conn) driver() driver.StreamDriver {
	if c.flags&hasLayer != 0 {
		return c.extras.layering.layer
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
	x := c.makeExtrasLocked()
	var err error
	switch {
	case c.endsLocked() || c.writeHalf != writeOpen:
		err = c.writeErrorLocked()
	case x.layering != nil:
		err = errSecondLayer
	}
	if err != nil {
		c.mu.Unlock()
		return c.opError(op, err)
	}
	x.layering, x.next = &layering{handler: h}, h.Inner()
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
	x := c.makeExtrasLocked()
	if x.layering != nil { // accept has called SetHandler, too
		c.mu.Unlock()
		return errSecondLayer
	}
	ends := c.endsLocked()
	if ends {
		c.upcoming &^= layerRequested
	} else {
		x.layering = &layering{handler: h, inner: h.Inner()}
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

// startLayerSoon has the layer started if nothing is unsent. That is done outside of upcalls: the
// layer may begin to receive.
func (c *Conn) startLayerSoon() {
	if c.extras.layering.layer == nil && c.Unsent() == 0 {
		c.loop.putEnd(c.startLayer)
	}
}

// startLayer starts the layer, unless it was started, or the connection has ended meanwhile. The
// driver must not be in an upcall of the stream, except in Connected.
func (c *Conn) startLayer() {
	y := c.extras.layering
	if c.phase != starting || y.layer != nil || c.Unsent() > 0 || c.flags&sendPending != 0 {
		return
	}
	if c.flags&readEnded != 0 {
		c.fail(errEndedTooSoon)
		return
	}
	layer := y.handler.NewLayer(c, driver.Above{Stream: &c.stream, Driver: c.loop.drv, Up: (*upcalls)(c), Run: c.loop.runForLayer})
	c.mu.Lock()
	y.layer, y.handler = layer, nil
	c.mu.Unlock()
	c.flags |= hasLayer
	c.stream.Up = layer
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

// runForLayer implements driver.Above.Run.
func (l *Loop) runForLayer(f func()) bool { return l.putEnd(f) }

// layerConnected handles the result of the layer's Start.
func (c *Conn) layerConnected(err error) {
	if err != nil {
		c.fail(err)
		return
	}
	y := c.extras.layering
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
	y := c.extras.layering
	y.postponed = append(y.postponed, o)
	return true
}

// runPostponed calls, or drops, the second halves that were postponed.
func (c *Conn) runPostponed() {
	y := c.extras.layering
	for len(y.postponed) > 0 {
		o := y.postponed[0]
		y.postponed[0] = nil
		y.postponed = y.postponed[1:]
		o.finish()
	}
	y.postponed = nil
}
