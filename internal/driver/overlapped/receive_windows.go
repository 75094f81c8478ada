package overlapped

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// mayReceive reports whether the stream may read or start a receive now.
func (c *conn) mayReceive() bool {
	return c.s.Flags&(receiving|ended|gone|connecting) == receiving && c.receive.state == idle
}

// startEarly starts the receive of a resumed stream before the turn waits, if that cannot make an
// upcall necessary.
func (d *Driver) startEarly(s *driver.Stream) {
	if s.Flags&(attached|gone) != attached {
		return
	}
	c := d.connOf(s)
	if c.failed == nil && c.mayReceive() && s.Flags&readable == 0 && c.buffer == nil && c.quick < busyAfter {
		_, pending, err := d.startReceive(c)
		if pending {
			return
		}
		c.failed = err
	}
	d.AddBusy(s)
}

// serveBusy serves a stream that is busy.
func (d *Driver) serveBusy(s *driver.Stream) {
	if s.Flags&gone != 0 {
		return
	}
	c := d.connOf(s)
	if c.connectDone {
		c.connectDone = false
		d.finishConnect(c)
		return
	}
	d.receive(c, d.Budget)
	d.awaitFailure(c)
}

// receive delivers received data, up to what is left of the budget, and starts the next
// receive.
func (d *Driver) receive(c *conn, left int) {
	s := c.s
	tries := maxReceives
	for ; c.mayReceive(); tries-- {
		if c.failed != nil {
			d.endReceiving(c, c.failed)
			return
		}
		if left <= 0 || tries == 0 {
			d.AddBusy(s)
			return
		}
		var b []byte
		var err error
		if s.Flags&readable != 0 {
			b, err = d.read(s, left)
		} else {
			var pending bool
			if b, pending, err = d.startReceive(c); pending {
				return
			}
		}
		if err != nil {
			d.endReceiving(c, err)
			return
		}
		left -= len(b)
		d.deliverBytes(s, b)
	}
}

// read reads at most most bytes into the scratch buffer, without waiting. A short read has
// drained the socket.
func (d *Driver) read(s *driver.Stream, most int) ([]byte, error) {
	b := d.scratch[:min(len(d.scratch), most)]
	n, err := s.Read(b)
	if n < len(b) {
		s.Flags &^= readable
	}
	if err == sock.ErrWouldBlock {
		err = nil
	}
	return b[:n], err
}

// deliverBytes passes received bytes to the loop.
func (d *Driver) deliverBytes(s *driver.Stream, b []byte) {
	if len(b) > 0 && !s.Up.Received(b) {
		s.Flags &^= receiving
	}
}

// endReceiving reports the end of receiving.
func (d *Driver) endReceiving(c *conn, err error) {
	d.returnBuffer(c)
	c.s.Flags &^= readable
	c.failed = nil
	c.s.ReportReceiveEnded(err)
}

// startReceive starts a receive: without memory, or into the buffer of a busy stream. If it is not
// pending, it has completed immediately, with the bytes b or, if there are none, with the stream
// readable.
func (d *Driver) startReceive(c *conn) (b []byte, pending bool, err error) {
	if c.buffer == nil && c.quick >= busyAfter {
		c.buffer = d.memory.getBuffer(len(d.scratch))
	}
	h := handle.Of(c.s)
	fd, ok := h.Use()
	if !ok {
		return nil, false, net.ErrClosed
	}
	done, e := sys.StartRecv(fd, c.buffer, c.receive.ov)
	h.Done()
	switch {
	case e == syscall.EPIPE: // CloseRead
		return nil, false, io.EOF
	case e != 0:
		return nil, false, c.failure(receiveOp, e)
	case done && c.skipOnSuccess:
		c.countQuick(true)
		b, err = c.receiveDone(int(c.receive.ov.InternalHigh))
		return b, false, err
	}
	c.receive.state = inFlight
	d.inFlight++
	c.since = d.turns
	if c.buffer != nil {
		c.due = time.Now().Add(idleAfter)
		d.lent.push(c)
	}
	return nil, true, nil
}

// countQuick counts consecutive receives that completed immediately, or by the next turn.
func (c *conn) countQuick(done bool) {
	if !done {
		c.quick = 0
	} else if c.quick < busyAfter {
		c.quick++
	}
}

// receiveDone handles a successful receive of n bytes.
func (c *conn) receiveDone(n int) ([]byte, error) {
	if c.buffer == nil {
		c.s.Flags |= readable
		return nil, nil
	}
	if n == 0 {
		return nil, io.EOF
	}
	if n == len(c.buffer) {
		c.s.Flags |= readable // there may be more
	}
	return c.buffer[:n], nil
}

// receiveEnded handles the completion of a receive.
func (d *Driver) receiveEnded(c *conn) {
	s := c.s
	d.lent.remove(c)
	n, err := c.result(c.receive)
	if s.Flags&gone != 0 {
		if c.detached && err == nil && c.buffer != nil && n > 0 {
			s.Up.Received(c.buffer[:n])
		}
		d.finishIfIdle(c)
		return
	}
	var b []byte
	if errors.Is(err, errCancelled) { // by cancelIdleReceives
		c.quick = 0
		d.returnBuffer(c)
		err = nil
	} else if err == nil {
		if c.buffer == nil {
			c.countQuick(c.since+1 >= d.turns)
		}
		b, err = c.receiveDone(n)
	}
	c.failed = err // if the stream is paused, it is reported after Resume
	d.deliverBytes(s, b)
	d.receive(c, d.Budget-len(b))
	d.awaitFailure(c)
}

// returnBuffer returns the stream's buffer to the pool, if it has one.
func (d *Driver) returnBuffer(c *conn) {
	if c.buffer != nil {
		d.memory.putBuffer(c.buffer[:bufferBytes])
		c.buffer = nil
	}
}

// cancelIdleReceives cancels the receives of busy streams that have become idle, and returns
// after what time to check again.
func (d *Driver) cancelIdleReceives() time.Duration {
	if d.lent.head == nil {
		return -1
	}
	now := time.Now()
	for c := d.lent.head; c != nil; c = d.lent.head {
		if left := c.due.Sub(now); left > 0 {
			return max(left, time.Millisecond)
		}
		d.lent.remove(c)
		if fd, ok := handle.Of(c.s).Use(); ok {
			sys.CancelOverlapped(fd, c.receive.ov)
			handle.Of(c.s).Done()
		}
	}
	return -1
}

// connList is a list of conns, oldest first.
type connList struct{ head, tail *conn }

func (l *connList) push(c *conn) {
	c.listed, c.prev, c.next = true, l.tail, nil
	if l.tail == nil {
		l.head = c
	} else {
		l.tail.next = c
	}
	l.tail = c
}

// remove removes c, if it is in the list.
func (l *connList) remove(c *conn) {
	if !c.listed {
		return
	}
	if c.prev == nil {
		l.head = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.tail = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.listed, c.prev, c.next = false, nil, nil
}
