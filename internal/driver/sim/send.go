package sim

import (
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/sock"
)

// Send implements driver.Driver.
func (d *Driver) Send(s *driver.Stream, bufs [][]byte) (int, error) {
	total := length(bufs)
	if total == 0 {
		return 0, nil
	}
	x := d.flow(s)
	if d.adversity.AsyncSend {
		x.unsent = append(x.unsent[:0], bufs...) // the slice itself may be reused immediately
		s.Flags |= sending
		d.request(s)
		return 0, nil
	}
	n, err := d.send(s, bufs, total)
	if err == sock.ErrWouldBlock {
		s.Flags |= blocked
		return n, nil
	}
	return n, err
}

// send sends what the socket takes of the total bytes in bufs, or a part of that.
func (d *Driver) send(s *driver.Stream, bufs [][]byte, total int) (int, error) {
	if k := d.dice.part(total, d.adversity.PartialSends); k < total {
		d.iov = first(d.iov[:0], bufs, k)
		bufs = d.iov
		defer clear(bufs)
	}
	n, e := d.flow(s).socket.Send(bufs, 0)
	return stream.Of(s).Sent(n, total, e)
}

// attempt sends some of an asynchronous Send. If it takes none, it is attempted again when the socket
// is writable.
func (d *Driver) attempt(s *driver.Stream) {
	x := d.flow(s)
	n, err := 0, error(nil)
	if !d.dice.decide(d.adversity.EmptySends) {
		n, err = d.send(s, x.unsent, length(x.unsent))
		if err == sock.ErrWouldBlock {
			if n == 0 {
				s.Flags |= blocked
				return
			}
			err = nil
		}
	}
	d.endSend(s)
	d.complete(s, n, err)
}

// endSend ends the use of the memory of an asynchronous Send.
func (d *Driver) endSend(s *driver.Stream) {
	x := d.flow(s)
	clear(x.unsent)
	x.unsent = x.unsent[:0]
	s.Flags &^= sending
}

// sendLast sends a part of an asynchronous Send of a stream that was released: its completion races with
// its cancellation.
func (d *Driver) sendLast(s *driver.Stream) {
	x := d.flow(s)
	total := length(x.unsent)
	d.iov = first(d.iov[:0], x.unsent, 1+d.dice.IntN(total))
	x.sent, _ = x.socket.Send(d.iov, 0)
	clear(d.iov)
	d.endSend(s)
	s.Flags |= completed
}

// length returns the number of bytes in bufs.
func length(bufs [][]byte) (n int) {
	for _, b := range bufs {
		n += len(b)
	}
	return n
}

// first appends the first n bytes of bufs to part.
func first(part, bufs [][]byte, n int) [][]byte {
	for _, b := range bufs {
		if n <= len(b) {
			return append(part, b[:n])
		}
		part = append(part, b)
		n -= len(b)
	}
	return part
}
