package overlapped

import (
	"io"
	"syscall"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
)

// A receive in flight fails when the connection does. While no receive is in flight, because the stream
// is paused with bytes to read, or the peer has closed its side, the stream is registered with AFD: for
// urgent data, for which the driver registers nothing else. AFD always reports failures too.

// isNotReceiving reports whether no receive will report that the connection has failed.
func (c *conn) isNotReceiving() bool { return c.s.Flags&receiving == 0 || c.s.Flags&ended != 0 }

// awaitFailure makes sure that a failure of a stream that is not receiving is reported: now if it
// is known, and else when AFD reports one.
func (d *Driver) awaitFailure(c *conn) {
	s := c.s
	if s.Flags&(attached|gone|connecting) != attached || c.failureReported || !c.isNotReceiving() {
		return
	}
	switch {
	case c.failed != nil && c.failed != io.EOF:
		d.reportFailure(c, c.failed) // ReceiveEnded reports it again
	case c.reset:
		err := s.Internal().TakeFailure()
		if err == nil {
			err = s.Internal().Failure(syscall.ECONNRESET) // only the event reports the failure
		}
		d.reportFailure(c, err)
	case !c.watchingFailure && c.receive.state == idle:
		// If this is refused, the next receive or send finds the failure.
		c.watchingFailure = d.reg.Register(s, driver.Token(kindFailure, s.Generation, s.Index), pollux.Priority, pollux.Edge) == nil
	}
}

func (d *Driver) reportFailure(c *conn, err error) {
	c.failureReported = true
	c.s.Up.Failed(err)
}

// failureEvent handles an event of a stream that AFD watches for failures.
func (d *Driver) failureEvent(c *conn, ev pollux.Event) {
	if ev.WriteClosed() || ev.Error() {
		c.reset = true
		d.awaitFailure(c)
	}
}
