package overlapped

import (
	"io"
	"syscall"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/stream"
)

// A receive in flight fails when the connection does. While no receive is in flight, because the stream
// is paused with bytes to read, or the peer has closed its side, the stream is registered with AFD: for
// urgent data, for which the driver registers nothing else. AFD always reports failures too.

// awaitFailure makes sure that a failure of a stream that is not receiving is reported: now if it
// is known, and else when AFD reports one.
func (d *Driver) awaitFailure(c *conn) {
	s := c.s
	if s.Flags&(attached|gone|connecting|failureReported) != attached || !s.MissesFailure() {
		return
	}
	switch {
	case c.failed != nil && c.failed != io.EOF:
		s.ReportFailed(c.failed) // ReceiveEnded reports it again
	case s.Flags&failed != 0:
		err := stream.Of(s).TakeFailure()
		if err == nil {
			err = stream.Of(s).Failure(syscall.ECONNRESET) // only the event reports the failure
		}
		s.ReportFailed(err)
	case !c.watchingFailure && c.receive.state == idle:
		// If this is refused, the next receive or send finds the failure.
		c.watchingFailure = d.q.Register(handle.Of(s), driver.Token(kindFailure, s.Generation, s.Index), selector.Priority, selector.Edge) == nil
	}
}

// failureEvent handles an event of a stream that AFD watches for failures.
func (d *Driver) failureEvent(c *conn, ev queue.Event) {
	if ev.WriteClosed() || ev.Failed() {
		c.s.Flags |= failed
		d.awaitFailure(c)
	}
}
