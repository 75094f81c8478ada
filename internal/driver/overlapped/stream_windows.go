package overlapped

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// Flags of a stream: those that every driver has, and this driver's own.
const (
	receiving       = driver.Receiving
	connecting      = driver.Connecting
	ended           = driver.Ended
	gone            = driver.Gone
	attached        = driver.Attached
	failed          = driver.Failed
	failureReported = driver.FailureReported

	readable = driver.OwnStreamFlag // the kernel may have data, and no receive is in flight
)

// A conn is the driver's state of a stream, from Attach to Released.
type conn struct {
	s             *driver.Stream
	receive, send *op    // send is nil unless one is in flight
	joined        bool   // it belongs to the port
	skipOnSuccess bool   // operations that succeed immediately post no completion
	detached      bool   // by Detach: Received may still come
	buffer        []byte // of a busy stream
	quick         uint8  // consecutive receives that completed immediately, up to busyAfter
	failed        error  // for ReceiveEnded
	since         uint64 // the turn in which the receive in flight was started

	connectDone bool // ConnectEx completed immediately; Connected must follow

	watchingFailure bool // AFD reports if the connection fails

	// In Driver.lent.
	due        time.Time
	next, prev *conn
	listed     bool

	held [][]byte // the memory of the send in flight
}

func (d *Driver) connOf(s *driver.Stream) *conn { return d.conns.At(s.Index) }

// newConn returns a conn for s; it reuses a free one if there is one.
func (d *Driver) newConn(s *driver.Stream) (*conn, error) {
	receive, err := d.memory.getOp(receiveOp)
	if err != nil {
		return nil, err
	}
	var c *conn
	if n := len(d.freeConns); n > 0 {
		c = d.freeConns[n-1]
		d.freeConns = d.freeConns[:n-1]
	} else {
		c = &conn{}
	}
	d.conns.Add(c, &s.State)
	c.s, c.receive = s, receive
	receive.conn = c
	return c, nil
}

// freeConn frees a conn that has nothing in flight.
func (d *Driver) freeConn(c *conn) {
	if c.s.Flags&attached != 0 {
		d.memory.putOp(c.receive)
		d.conns.Remove(&c.s.State)
		c.s.Flags &^= attached
		d.freeConns = append(d.freeConns, c)
	}
	*c = conn{held: c.held}
}

// Attach implements driver.Driver.
func (d *Driver) Attach(s *driver.Stream) error {
	c, err := d.addConn(s)
	if err != nil {
		return err
	}
	if err := d.join(c); err != nil {
		d.freeConn(c)
		return err
	}
	d.AddBusy(s) // so that AFD watches it, if it is not resumed
	return nil
}

// addConn gives a stream its conn.
func (d *Driver) addConn(s *driver.Stream) (*conn, error) {
	c, err := d.newConn(s)
	if err == nil {
		s.Flags |= attached
	}
	return c, err
}

// errOtherPort is the error of attaching a socket that belongs, itself or as a duplicate, to
// another completion port, such as that of Go's package net.
var errOtherPort = errors.New(`the socket belongs to another completion port; a loop with the backend "iocp" can serve it`)

// BindsStreams implements driver.Binder.
func (d *Driver) BindsStreams() {}

// join joins the stream to the port.
func (d *Driver) join(c *conn) error {
	fd, ok := handle.Of(c.s).Use()
	if !ok {
		return net.ErrClosed
	}
	defer handle.Of(c.s).Done()
	port, ok := d.port.Use()
	if !ok {
		return net.ErrClosed
	}
	defer d.port.Done()
	if e := sys.JoinPort(fd, port, opKey); e != 0 {
		return joinError(e)
	}
	c.skipOnSuccess = sys.SkipCompletionOnSuccess(fd)
	c.joined = true
	return nil
}

func joinError(e syscall.Errno) error {
	err := sys.CallError("CreateIoCompletionPort", e)
	if e == syscall.EINVAL {
		return fmt.Errorf("%w: %w", err, errOtherPort)
	}
	return err
}

// Resume implements driver.Driver.
func (d *Driver) Resume(s *driver.Stream) {
	if s.Flags&(receiving|gone) != 0 {
		return
	}
	s.Flags |= receiving
	if s.Flags&(attached|ended) == attached && d.connOf(s).receive.state == idle {
		d.AddBusy(s)
	}
}

// Pause implements driver.Driver. A receive in flight stays: it returns at most one more
// buffer of data.
func (d *Driver) Pause(s *driver.Stream) {
	s.Flags &^= receiving
	if s.Flags&(attached|gone) == attached && d.connOf(s).receive.state == idle {
		d.AddBusy(s) // so that AFD watches it
	}
}

// Release implements driver.Driver.
func (d *Driver) Release(s *driver.Stream) {
	if c := d.markGone(s); c != nil {
		d.cancel(c)
		s.Close()
		d.finishIfIdle(c)
	}
}

// Detach implements driver.Driver. Data that a receive in flight has already received is
// delivered before Released.
func (d *Driver) Detach(s *driver.Stream) {
	c := d.markGone(s)
	if c == nil {
		return
	}
	c.detached = true
	if s.Flags&connecting != 0 || c.watchingFailure {
		d.q.Deregister(handle.Of(s))
	}
	d.cancel(c)
	d.finishIfIdle(c)
}

func (d *Driver) markGone(s *driver.Stream) *conn {
	if s.Flags&gone != 0 {
		return nil
	}
	s.Flags = s.Flags&^receiving | gone
	if s.Flags&attached == 0 {
		return &conn{s: s}
	}
	return d.connOf(s)
}

// cancel cancels the operations in flight.
func (d *Driver) cancel(c *conn) {
	if c.idle() {
		return
	}
	if fd, ok := handle.Of(c.s).Use(); ok {
		sys.CancelOverlapped(fd, nil)
		handle.Of(c.s).Done()
	}
}

func (c *conn) idle() bool { return (c.receive == nil || c.receive.state == idle) && c.send == nil }

// finishIfIdle has deliverReleased free the conn and call Released if no operation is in flight any more.
func (d *Driver) finishIfIdle(c *conn) {
	if !c.idle() {
		return
	}
	d.returnBuffer(c)
	if c.detached && c.joined {
		if fd, ok := handle.Of(c.s).Use(); ok {
			sys.LeavePort(fd) // the package comment describes what happens if it fails
			handle.Of(c.s).Done()
		}
	}
	d.finished = append(d.finished, c)
	d.AddReleased(c.s)
}

// result returns the result of an operation of c.
func (c *conn) result(o *op) (int, error) {
	if o.ov.Internal == sys.STATUS_SUCCESS {
		return int(o.ov.InternalHigh), nil
	}
	fd, ok := handle.Of(c.s).Use()
	if !ok {
		return 0, net.ErrClosed
	}
	defer handle.Of(c.s).Done()
	n, e := sys.OverlappedResult(fd, o.ov)
	switch e {
	case 0:
		return n, nil
	case syscall.ECANCELED:
		return 0, errCancelled
	}
	return 0, c.failure(o.kind, e)
}

var errCancelled = errors.New("the operation was cancelled")

// failure returns the error of a failed operation as package sock would return it.
func (c *conn) failure(kind opKind, e syscall.Errno) error {
	err := &net.OpError{Op: "read", Net: handle.Of(c.s).Kind().Network(), Source: c.s.LocalNetAddr(), Addr: c.s.RemoteNetAddr()}
	call := "WSARecv"
	if kind == sendOp {
		err.Op, call = "write", "WSASend"
	}
	err.Err = sys.CallError(call, e)
	return err
}
