package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"unsafe"

	"github.com/pollux-io/pollux/internal/driver"
)

// connOf returns the connection around a stream, which is its first field.
func connOf(s *driver.Stream) *Conn { return (*Conn)(unsafe.Pointer(s)) }

var _ = [1]struct{}{}[unsafe.Offsetof(Conn{}.stream)]

// attach gives the connection to its loop's driver. An accepted one is open then.
func (c *Conn) attach() bool {
	l := c.loop
	l.remember(c)
	if l.ending {
		c.phase = open
		c.release(ErrShutdown)
		return false
	}
	var err error
	if c.dialing() {
		if err = l.drv.Connect(&c.stream); err == nil {
			return true
		}
	} else if err = l.drv.Attach(&c.stream); err == nil {
		c.opened(c.accepted.accept)
		return c.phase != gone
	} else {
		l.g.config.Logger.Warn("pollux: a connection could not be watched", "error", err)
	}
	l.forget(c)
	c.stream.Close()
	c.phase = gone
	c.tellDialed(err)
	return false
}

// opened asks for the handler and tells it.
func (c *Conn) opened(accept func(*Conn) Handler) {
	c.phase = open
	var h Handler
	err := c.callbackErr(func() {
		if h = accept(c); h == nil {
			return
		}
		c.setHandler(h)
		if o, ok := h.(OpenedHandler); ok {
			o.Opened(c)
		}
	})
	c.settle()
	switch {
	case c.phase == gone:
		return
	case err != nil:
		c.fail(err)
		return
	case c.handler == nil:
		c.release(nil)
		return
	}
	if d := c.loop.g.config.IdleTimeout; d > 0 && c.flags&idles == 0 {
		c.mu.Lock()
		c.more().idleTimeout = d
		c.mu.Unlock()
		c.setDeadlines(wantIdle)
	}
	if c.pauses == 0 && c.phase != gone {
		c.loop.drv.Resume(&c.stream)
	}
}

// handlerName may be called from any goroutine.
func (c *Conn) handlerName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("%T", c.handler)
}

// Dial connects to address, of network "tcp", "tcp4", "tcp6" or "unix" as for Listen,
// and returns the connection when it is open. accept is called on its loop, once it
// is, and returns its handler. It waits, so it is not for loops: Loop.Dial is.
func (g *Group) Dial(ctx context.Context, network, address string, accept func(*Conn) Handler) (*Conn, error) {
	type result struct {
		c   *Conn
		err error
	}
	ended := make(chan result, 1)
	c, err := g.least().dial(network, address, accept, func(c *Conn, err error) { ended <- result{c, err} })
	if err != nil {
		return nil, err
	}
	select {
	case r := <-ended:
		return r.c, r.err
	case <-g.stopped:
		c.stream.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Addr: c.dialAddr(), Err: ErrClosed}
	case <-ctx.Done():
	}
	c.Abort()
	select {
	case r := <-ended:
		if r.err == nil {
			return r.c, nil // it was open before it could be given up
		}
	case <-g.stopped:
	}
	return nil, &net.OpError{Op: "dial", Net: network, Addr: c.dialAddr(), Err: context.Cause(ctx)}
}

// Dial is Group.Dial without waiting: done is called on the loop, once, unless Dial fails:
// with a bad address, for want of descriptors, with MaxConns connections, or with ErrClosed.
func (l *Loop) Dial(network, address string, accept func(*Conn) Handler, done func(*Conn, error)) error {
	_, err := l.dial(network, address, accept, done)
	return err
}

func (l *Loop) dial(network, address string, accept func(*Conn) Handler, done func(*Conn, error)) (*Conn, error) {
	c := l.newConn()
	c.more().dialed = done
	c.extras.accept = accept
	var err error
	if network == "unix" {
		c.extras.remote = &net.UnixAddr{Name: address, Net: network}
		err = driver.PrepareUnix(&c.stream, address)
	} else {
		at, rerr := ResolveTCP(network, address)
		if rerr != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: rerr}
		}
		c.extras.remote = net.TCPAddrFromAddrPort(at)
		err = driver.PrepareTCP(&c.stream, at)
	}
	if err != nil {
		return nil, err
	}
	if !l.g.mayOpen() {
		c.stream.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Addr: c.extras.remote, Err: errors.New("the group has MaxConns connections")}
	}
	l.load.Add(1)
	if !c.join() {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: c.extras.remote, Err: ErrClosed}
	}
	return c, nil
}

// join has the connection attached to its loop, which counts it already. If the loop
// has ended, the connection is closed, and join returns false.
func (c *Conn) join() bool {
	c.mu.Lock()
	c.requests, c.queued = wantAttach, true
	c.mu.Unlock()
	if c.loop.put(op{conn: c}) {
		return true
	}
	c.stream.Close()
	c.loop.load.Add(-1)
	c.loop.g.connEnded()
	return false
}

func (c *Conn) dialing() bool { return c.extras != nil && c.extras.dialed != nil }

func (c *Conn) dialAddr() net.Addr { return c.extras.remote }

// Connected implements driver.StreamUpcalls.
func (u *upcalls) Connected(err error) {
	c := (*Conn)(u)
	c.loop.wakeUp()
	if c.phase != connecting {
		return
	}
	if err != nil {
		c.release(err)
		return
	}
	c.opened(c.extras.accept)
	if c.phase != gone {
		c.flush()
	}
	c.tellDialed(nil)
}

// tellDialed tells whoever dialed, once: when the connection is open, or has ended
// before it was.
func (c *Conn) tellDialed(err error) {
	if !c.dialing() {
		return
	}
	done := c.extras.dialed
	c.extras.dialed = nil
	conn := c
	if err != nil {
		conn = nil
	}
	c.loop.protect("Dial's function", func() { done(conn, err) })
}
