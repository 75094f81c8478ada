package overlapped

import (
	"errors"
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// Connect implements driver.Driver.
func (d *Driver) Connect(s *driver.Stream) error {
	if handle.Of(s).Kind() == handle.TCPStream && d.findConnectEx(s) {
		return d.startConnect(s)
	}
	if err := stream.Of(s).BeginConnect(); err != nil {
		return err
	}
	return d.awaitConnect(s)
}

// findConnectEx reports whether the TCP provider has ConnectEx.
func (d *Driver) findConnectEx(s *driver.Stream) bool {
	if d.connectEx != 0 {
		return true
	}
	fd, ok := handle.Of(s).Use()
	if !ok {
		return false
	}
	defer handle.Of(s).Done()
	f, e := sys.FindConnectEx(fd)
	if e == 0 {
		d.connectEx = f
	}
	return e == 0
}

// startConnect starts a ConnectEx, with the conn's receive op.
func (d *Driver) startConnect(s *driver.Stream) error {
	if err := d.Attach(s); err != nil {
		return err
	}
	c := d.connOf(s)
	fd, ok := handle.Of(s).Use()
	if !ok {
		d.freeConn(c)
		return net.ErrClosed
	}
	defer handle.Of(s).Done()
	to, o := stream.Of(s).ConnectTo(), c.receive
	done := false
	e := sys.BindForConnect(fd, to.Family())
	if e == 0 {
		done, e = d.connectEx.StartConnect(fd, to, o.ov)
	}
	if e != 0 {
		d.freeConn(c)
		return stream.Of(s).RecordConnect(e)
	}
	s.Flags |= connecting
	if done && c.skipOnSuccess {
		c.connectDone = true
		d.AddBusy(s)
		return nil
	}
	o.kind, o.state = connectOp, inFlight
	d.inFlight++
	return nil
}

// connectEnded handles the completion of a ConnectEx.
func (d *Driver) connectEnded(c *conn) {
	s := c.s
	c.receive.kind = receiveOp
	if s.Flags&gone != 0 {
		d.finishIfIdle(c)
		return
	}
	d.finishConnect(c)
}

// finishConnect reports the result of a ConnectEx.
func (d *Driver) finishConnect(c *conn) {
	fd, ok := handle.Of(c.s).Use()
	if !ok {
		d.connected(c, net.ErrClosed)
		return
	}
	_, e := sys.OverlappedResult(fd, c.receive.ov)
	if e == 0 {
		e = sys.FinishConnect(fd)
	}
	handle.Of(c.s).Done()
	d.connected(c, stream.Of(c.s).RecordConnect(e))
}

// awaitConnect has AFD report the end of a connect that has begun. Only then does the stream join
// the port, so that no completion of Winsock's own arrives there.
func (d *Driver) awaitConnect(s *driver.Stream) error {
	c, err := d.addConn(s)
	if err != nil {
		return err
	}
	err = d.q.Register(handle.Of(s), driver.Token(kindConnect, s.Generation, s.Index), selector.Writable, selector.Edge)
	if err != nil {
		d.freeConn(c)
		return err
	}
	s.Flags |= connecting
	return nil
}

// connectEvent handles an event of a stream that awaitConnect has registered.
func (d *Driver) connectEvent(c *conn, ev queue.Event) {
	s := c.s
	err := s.ConnectError()
	if errors.Is(err, sock.ErrWouldBlock) {
		if !ev.Failed() && !ev.WriteClosed() {
			return
		}
		// The connection was established and reset before this call. On Wine, the socket then
		// has neither a peer nor an error, and this event does not come again.
		err = stream.Of(s).RecordConnect(syscall.ECONNRESET)
	}
	d.q.Deregister(handle.Of(s))
	if err == nil {
		err = d.join(c)
	}
	d.connected(c, err)
}

func (d *Driver) connected(c *conn, err error) {
	if err == nil {
		d.AddBusy(c.s)
	}
	c.s.ReportConnected(err)
}
