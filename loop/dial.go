package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/pollux-io/pollux/internal/hostport"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/sock"
)

// Dial connects to address, of network "tcp", "tcp4", "tcp6" or "unix" as for Listen, and
// returns the open connection. Once it is open, accept is called on its loop and returns its
// handler, whose Opened is called before Dial returns; if it returns nil, the connection is closed,
// and Dial returns an error. If it returns a handler of package tlsconn, the handshake is part of the dial: Opened is called,
// and Dial returns, when it is done, and ctx cuts it off. Bytes that accept writes are sent before it, in plaintext. Dial waits, so in a callback it returns ErrOnLoop: use Loop.Dial there.
//
// When ctx ends first, Dial returns, whatever the loop is doing, and the dial is canceled: the
// socket is closed, and no longer counts for MaxConns, as soon as the loop processes that, or
// immediately if the loop has not begun to connect. If accept has been called by then, its
// handler gets Closed, unless it has none before the end of a handshake.
//
// options are those of package sock for sockets that connect, such as sock.LocalAddr and
// sock.ReadBuffer; sock.KeepAlive overrides Config.KeepAlive. One that is out of range or does not
// apply is ErrBadArgument.
//
// The error is a *net.OpError: the system's (ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EMFILE, and
// those of the options), ctx's cause, ErrTooManyConns, ErrBadArgument, ErrClosed, or the reason why
// the connection ended before Dial returned it.
func (g *Group) Dial(ctx context.Context, network, address string, accept func(*Conn) Handler, options ...sock.Option) (*Conn, error) {
	if err := g.checkNotOnLoop(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%w, or use Loop.Dial", err)}
	}
	type result struct {
		c   *Conn
		err error
	}
	ended := make(chan result, 1)
	c, err := g.leastLoaded().dial(ctx, network, address, accept, func(c *Conn, err error) { ended <- result{c, err} }, options)
	if err != nil {
		return nil, err
	}
	select {
	case r := <-ended:
		return r.c, r.err
	case <-ctx.Done():
	}
	select { // both may be ready
	case r := <-ended:
		return r.c, r.err
	default:
	}
	if !c.cancelDial(context.Cause(ctx)) {
		c.Abort() // it has just opened
	}
	return nil, &net.OpError{Op: "dial", Net: network, Addr: c.dialAddr(), Err: context.Cause(ctx)}
}

// Dial is Group.Dial on this loop, without waiting: done, unless it is nil, is called once, on
// the loop, with the connection or the error. If the connection opens, accept and the handler's
// Opened are called before. If Dial itself returns an error (a bad address, an option that fails,
// out of descriptors, ErrTooManyConns, ErrBadArgument, ErrClosed, or ctx's cause if that has ended
// already), nothing is called.
//
// When ctx ends first, the dial is canceled as by Group.Dial, and done gets ctx's cause. If ctx
// has no deadline, the system's own timeout is a minute or more. An open connection does not
// depend on ctx any more.
func (l *Loop) Dial(ctx context.Context, network, address string, accept func(*Conn) Handler, done func(*Conn, error), options ...sock.Option) error {
	c, err := l.dial(ctx, network, address, accept, done, options)
	if err != nil || ctx.Done() == nil {
		return err
	}
	c.followContext(ctx)
	return nil
}

// followContext cancels the dial when ctx ends.
func (c *Conn) followContext(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { c.cancelDial(context.Cause(ctx)) })
	c.mu.Lock()
	d := c.extras.dial
	d.ctx = ctx
	if !d.ended {
		d.stopContext = stop
	}
	ended := d.ended
	c.mu.Unlock()
	if ended {
		stop()
	}
}

// reopenDial undoes endDial for a connection, if it was dialed, that gets a layer: it is not open before the layer has
// connected.
func (c *Conn) reopenDial() {
	x := c.loadExtras()
	if x == nil || x.dial == nil || x.dial.done == nil {
		return
	}
	d := x.dial
	c.mu.Lock()
	d.ended = false
	ctx := d.ctx
	c.mu.Unlock()
	if ctx != nil {
		c.followContext(ctx)
	}
}

// dialing is the additional state of a dialed connection.
type dialing struct {
	accept func(*Conn) Handler
	done   func(*Conn, error) // accessed by the loop only; nil if none was given, or after the call

	// Guarded by the connection's mu.
	ended       bool
	cancelCause error           // why the dial was canceled
	ctx         context.Context // of Loop.Dial, if it may end
	stopContext func() bool     // stops waiting for the end of the dial's context
}

// cancelDial cancels a dial with the given cause; it returns false if the dial has ended. It may
// be called from any goroutine.
func (c *Conn) cancelDial(why error) bool {
	c.mu.Lock()
	d := c.extras.dial
	if d.ended {
		c.mu.Unlock()
		return false
	}
	d.cancelCause = why
	if c.requests&wantAttach == 0 {
		c.upcoming |= endRequested
		c.submitAndUnlock(wantAbort)
		return true
	}
	// The loop has not begun to connect, and may be in a long callback: release it here. That is
	// done before the loop can take the request: Shutdown must not return before.
	c.requests = wantDialCanceled
	c.enterLocked(released)
	c.undoDial()
	c.stream.Close()
	c.loop.load.Add(-1)
	c.loop.g.limits.Uncount()
	c.mu.Unlock()
	c.loop.g.limits.Grant()
	return true
}

// endDial marks the dial as ended, before accept or done is called. It returns the cause if the
// dial was canceled, else nil.
func (c *Conn) endDial() error {
	c.mu.Lock()
	d := c.extras.dial
	d.ended = true
	stop := d.stopContext
	d.stopContext = nil
	why := d.cancelCause
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
	return why
}

func (l *Loop) dial(ctx context.Context, network, address string, accept func(*Conn) Handler, done func(*Conn, error), options []sock.Option) (*Conn, error) {
	if accept == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errNoHandlerFunc()}
	}
	if ctx == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errNil("a context")}
	}
	if ctx.Err() != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: context.Cause(ctx)}
	}
	c := l.newConn()
	stream.PrepareOnly(&c.stream)
	c.makeExtrasLocked().dial = &dialing{accept: accept, done: done}
	var err error
	if network == "unix" {
		c.extras.remote = &net.UnixAddr{Name: address, Net: network}
		err = sock.ConnectUnixInto(&c.stream.Stream, address, l.g.onNetwork(options)...)
	} else {
		at, rerr := hostport.ParseStream(network, address)
		if rerr != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: rerr}
		}
		c.extras.remote = net.TCPAddrFromAddrPort(at)
		err = sock.ConnectTCPInto(&c.stream.Stream, at, append(slices.Clip(l.g.options), options...)...)
	}
	if err != nil {
		return nil, err
	}
	if !l.g.limits.Reserve() {
		c.undoDial()
		c.stream.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Addr: c.extras.remote, Err: ErrTooManyConns}
	}
	l.load.Add(1)
	if !c.enqueueAttach() {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: c.extras.remote, Err: l.endedError()}
	}
	return c, nil
}

// undoDial removes the path of a Unix socket that the option sock.LocalUnixAddr has bound. It is called
// before the socket is closed, once, unless the connection has opened.
func (c *Conn) undoDial() {
	if a := stream.Of(&c.stream).Attempt; a != nil && a.Undo != nil {
		a.Undo()
	}
}

func (c *Conn) dialAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.extras.remote
}

// connected handles the result of connecting.
func (c *Conn) connected(err error) {
	if c.phase != connecting {
		return
	}
	if err == nil {
		err = c.endDial()
	}
	if err != nil {
		c.release(err)
		return
	}
	c.opened(c.extras.dial.accept)
	if c.phase.gone() || c.handler == nil || c.phase == starting {
		return // Released calls done, or layerConnected
	}
	c.flush()
	c.callDialed(nil)
}

// callDialed calls the dial's done function, once: when the connection is open, or has ended
// before that.
func (c *Conn) callDialed(err error) {
	if c.accepted != nil {
		return
	}
	if why := c.endDial(); why != nil {
		err = why
	}
	d := c.loadExtras().dial
	if d.done == nil {
		return
	}
	done := d.done
	d.done = nil
	conn := c
	if err != nil {
		conn = nil
		var op *net.OpError
		if !errors.As(err, &op) {
			err = &net.OpError{Op: "dial", Net: c.network(), Addr: c.dialAddr(), Err: err}
		}
	}
	c.loop.call(workDialed, done, func() { done(conn, err) })
}
