package loop

import (
	"errors"
	"net"

	"github.com/pollux-io/pollux/sock"
)

type detachFunc func(s *sock.Stream, unread []byte, err error)

// Detach takes the connection away from its loop: when all that was written has been sent, f
// gets it as a plain net.Conn, with the bytes that were received and not consumed. f runs on the
// loop, once, so it must not block: start a goroutine to use the net.Conn. The handler's Closed
// gets ErrDetached. If the connection ends before, f gets the error, and the received bytes that
// had been read by then. On Windows, where package net cannot adopt sockets, f gets
// errors.ErrUnsupported, and the connection is closed: use DetachStream there. Group.Attach is the
// inverse.
//
// A connection with TLS (package tlsconn), or whose handshake is requested, cannot be detached: Detach returns
// errors.ErrUnsupported, and nothing changes.
func (c *Conn) Detach(f func(conn net.Conn, unread []byte, err error)) error {
	if f == nil {
		return c.opError("detach", errNil("a function"))
	}
	return c.DetachStream(func(s *sock.Stream, unread []byte, err error) {
		var conn net.Conn
		if err == nil {
			conn, err = s.NetConn()
			s.Close()
		}
		f(conn, unread, err)
	})
}

// DetachStream is Detach that hands over the non-blocking socket itself: to watch it with a Poll
// or Loop.Watch, to give it to another loop (Loop.AttachStream), or to take out its descriptor
// (Stream.Detach). f owns the socket and must close it.
func (c *Conn) DetachStream(f func(s *sock.Stream, unread []byte, err error)) error {
	if f == nil {
		return c.opError("detach", errNil("a function"))
	}
	c.mu.Lock()
	var err error
	switch {
	case c.endsLocked():
		err = ErrClosed
	case c.layeredLocked():
		err = errDetachLayer
	default:
		c.upcoming |= endRequested
		c.makeExtrasLocked().detach = f
		c.submitAndUnlock(wantDetach)
		return nil
	}
	c.mu.Unlock()
	return c.opError("detach", err)
}

func (c *Conn) beginDetach() {
	switch {
	case c.phase == failing:
		c.releaseKeepingUnread(c.endReason())
		return
	case c.phase != open:
		return // it is ending: callDetached reports why
	}
	c.pause(byUser)
	c.enter(detaching)
	c.leaveFanouts()
	c.detachIfSent()
}

func (c *Conn) detachIfSent() {
	if c.phase == detaching && c.Unsent() == 0 {
		c.teardownKeepingUnread(ErrDetached, detached)
		c.loop.drv.Detach(&c.stream)
	}
}

// releaseKeepingUnread releases the stream, and keeps what is unread for Detach's function.
func (c *Conn) releaseKeepingUnread(why error) {
	c.teardownKeepingUnread(why, released)
	c.driver().Release(&c.stream)
}

func (c *Conn) teardownKeepingUnread(why error, last phase) {
	in := c.in
	c.in = nil // or teardown drops it
	c.teardown(why, last)
	c.in = in
}

// callDetached calls Detach's function, if Detach was called.
func (c *Conn) callDetached() {
	c.mu.Lock()
	var f detachFunc
	if c.extras != nil {
		f, c.extras.detach = c.extras.detach, nil
	}
	c.mu.Unlock()
	if f == nil {
		return
	}
	var unread []byte
	if c.in != nil {
		unread = append(unread, c.in.Bytes()...)
		c.dropUnread()
	}
	stream, err := &c.stream.Stream, c.endReason()
	if c.phase == detached && errors.Is(err, ErrDetached) {
		err = nil
	} else {
		stream.Close() // a detached stream is still open
		stream = nil
	}
	c.loop.call(workDetached, f, func() { f(stream, unread, err) })
}
