package overlapped

import (
	"io"
	"syscall"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
)

// A receive in flight fails when the connection does. While there is none, because the
// stream is paused with bytes to read, or the peer has ended its side, AFD watches it: for
// urgent data, which nobody asks for otherwise, and so for failures, which it always reports.

// isNotReceiving reports whether no receive is going to find out that the connection has failed.
func (c *conn) isNotReceiving() bool { return c.s.Flags&receiving == 0 || c.s.Flags&ended != 0 }

// awaitFailure reports a failure of a stream that is deaf, if one is known, and sees to it
// that it is reported otherwise.
func (d *Driver) awaitFailure(c *conn) {
	s := c.s
	if s.Flags&(attached|gone|connecting) != attached || c.failureReported || !c.isNotReceiving() {
		return
	}
	switch {
	case c.failed != nil && c.failed != io.EOF:
		d.reportFailure(c, c.failed) // ReceiveEnded has it again
	case c.reset:
		err := s.TakeFailure()
		if err == nil {
			err = s.Failure(syscall.ECONNRESET) // the event is all there is
		}
		d.reportFailure(c, err)
	case !c.watchingFailure && c.receive.state == idle:
		// If it is refused, the next receive or send finds out.
		c.watchingFailure = d.reg.Register(s, driver.Token(kindFailure, s.Generation, s.Index), pollux.Priority, pollux.Edge) == nil
	}
}

func (d *Driver) reportFailure(c *conn, err error) {
	c.failureReported = true
	c.s.Up.Failed(err)
}

// failureEvent takes an event of a stream that is watched.
func (d *Driver) failureEvent(c *conn, ev pollux.Event) {
	if ev.WriteClosed() || ev.Error() {
		c.reset = true
		d.awaitFailure(c)
	}
}
