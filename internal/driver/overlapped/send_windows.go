package overlapped

import (
	"net"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// Send implements driver.Driver.
func (d *Driver) Send(s *driver.Stream, bufs [][]byte) (n int, err error) {
	if len(bufs) == 1 {
		n, err = s.Write(bufs[0])
	} else {
		n, err = s.Writev(bufs)
	}
	if err != sock.ErrWouldBlock {
		return n, err
	}
	if s.Flags&attached == 0 {
		return n, net.ErrClosed
	}
	c := d.connOf(s)
	if !c.joined {
		return n, net.ErrClosed
	}
	for {
		more, pending, err := d.startSend(c, bufs, n)
		n += more
		if pending || err != nil || more == 0 {
			return n, err
		}
	}
}

// startSend starts an overlapped send of what follows the first skip bytes. If it is not
// pending, the kernel has taken n bytes immediately; n is zero if there was nothing to send.
//
// The memory is the loop's, on the Go heap: it escaped to there by being passed through an
// interface, objects on the heap do not move, and held keeps it from being freed.
func (d *Driver) startSend(c *conn, bufs [][]byte, skip int) (n int, pending bool, err error) {
	var v sys.Iovecs
	for _, b := range bufs {
		k := min(skip, len(b))
		skip -= k
		b = b[k:]
		b = b[:min(len(b), maxSend-v.Bytes)]
		if len(b) == 0 {
			continue
		}
		if !v.Add(b) {
			break
		}
		c.held = append(c.held, b)
	}
	if v.Bytes == 0 {
		return 0, false, nil
	}
	o, err := d.memory.getOp(sendOp)
	if err != nil {
		c.clearHeld()
		return 0, false, err
	}
	h := handle.Of(c.s)
	fd, ok := h.Use()
	if !ok {
		c.clearHeld()
		d.memory.putOp(o)
		return 0, false, net.ErrClosed
	}
	done, e := sys.StartSend(fd, &v, o.ov)
	h.Done()
	if e == 0 && !(done && c.skipOnSuccess) {
		o.conn, o.state = c, inFlight
		d.inFlight++
		c.send = o
		return 0, true, nil
	}
	c.clearHeld()
	d.memory.putOp(o)
	if e != 0 {
		return 0, false, c.failure(sendOp, e)
	}
	return int(o.ov.InternalHigh), false, nil
}

// clearHeld drops the references to the memory of a send that is not in flight.
func (c *conn) clearHeld() {
	clear(c.held)
	c.held = c.held[:0]
}

// sendEnded handles the completion of a send.
func (d *Driver) sendEnded(c *conn) {
	n, err := c.result(c.send)
	d.memory.putOp(c.send)
	c.send = nil
	c.clearHeld()
	if c.s.Flags&gone != 0 {
		d.finishIfIdle(c)
		if n > 0 {
			c.s.Up.Sent(n, nil) // last: the upcall may end the goroutine (runtime.Goexit)
		}
		return
	}
	c.s.Up.Sent(n, err)
}
