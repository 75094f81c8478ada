package loop

import (
	"context"
	"errors"
	"net"

	"github.com/pollux-io/pollux/internal/driver"
)

// Dial connects to address, of network "tcp", "tcp4", "tcp6" or "unix" as for Listen,
// and returns the connection when it is open. accept is called on its loop, once it
// is, and returns its handler. It waits, so in a callback it is ErrOnLoop: Loop.Dial is for
// those. When ctx ends first, connecting is given up, and a connection that has come all the
// same is aborted. The error is a *net.OpError: the system's (ECONNREFUSED, ETIMEDOUT,
// ENETUNREACH, EMFILE), ctx's, ErrTooManyConns, ErrBadConfig, ErrClosed, or what has ended the connection
// before it could be returned.
func (g *Group) Dial(ctx context.Context, network, address string, accept func(*Conn) Handler) (*Conn, error) {
	err := g.mayWait()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
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
	case <-ctx.Done():
	}
	select { // both may have come
	case r := <-ended:
		return r.c, r.err
	default:
	}
	c.Abort()
	<-ended // a loop does not end before all its dials have
	return nil, &net.OpError{Op: "dial", Net: network, Addr: c.dialAddr(), Err: context.Cause(ctx)}
}

// Dial is Group.Dial without waiting: done, unless it is nil, is called on the loop, once,
// unless Dial fails: with a bad address, for want of descriptors, with ErrTooManyConns,
// ErrBadConfig or ErrClosed. It cannot be given up: the system does that, after a
// minute or more.
func (l *Loop) Dial(network, address string, accept func(*Conn) Handler, done func(*Conn, error)) error {
	_, err := l.dial(network, address, accept, done)
	return err
}

func (l *Loop) dial(network, address string, accept func(*Conn) Handler, done func(*Conn, error)) (*Conn, error) {
	if accept == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: needs("a function that returns the handler")}
	}
	c := l.newConn()
	c.more().dialed = done
	c.extras.accept = accept
	var err error
	if network == "unix" {
		c.extras.remote = &net.UnixAddr{Name: address, Net: network}
		err = driver.PrepareUnix(&c.stream, address)
	} else {
		at, rerr := resolveStream(network, address)
		if rerr != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: rerr}
		}
		c.extras.remote = net.TCPAddrFromAddrPort(at)
		if err = driver.PrepareTCP(&c.stream, at); err == nil {
			if err = c.keepAliveDialed(); err != nil {
				c.stream.Close()
				err = &net.OpError{Op: "dial", Net: network, Addr: c.extras.remote, Err: err}
			}
		}
	}
	if err != nil {
		return nil, err
	}
	if !l.g.mayOpen() {
		c.stream.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Addr: c.extras.remote, Err: ErrTooManyConns}
	}
	l.load.Add(1)
	if !c.join() {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: c.extras.remote, Err: l.endedBecause()}
	}
	return c, nil
}

func (c *Conn) dialAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.extras.remote
}

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
	if c.phase == gone || c.handler == nil {
		return // Released tells
	}
	c.flush()
	c.tellDialed(nil)
}

// tellDialed tells whoever dialed, once: when the connection is open, or has ended
// before it was.
func (c *Conn) tellDialed(err error) {
	x := c.extrasIfAny()
	if x == nil || x.dialed == nil {
		return
	}
	done := x.dialed
	x.dialed = nil
	conn := c
	if err != nil {
		conn = nil
		var op *net.OpError
		if !errors.As(err, &op) {
			err = &net.OpError{Op: "dial", Net: c.network(), Addr: c.dialAddr(), Err: err}
		}
	}
	c.loop.protect("Dial's function", func() { done(conn, err) })
}
