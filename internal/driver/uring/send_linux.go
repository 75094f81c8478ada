package uring

import (
	"syscall"
	"unsafe"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// Sends are submitted, and leave together when the turn enters the ring, in one system call.
// That was faster than an immediate send(2) for each (docs/performance.md). The loop does not
// change the memory until the kernel has completed the send, or its cancellation, and the
// slot keeps it reachable until then.
//
// If a turn has only one completion, the answer to it would be submitted alone, so it is sent
// immediately: that saves a submission and a completion.
//
// MSG_WAITALL is not used: with it, a peer that reads a little at a time would look like one
// that reads nothing.

// SyncSend implements driver.Driver.
func (d *Driver) SyncSend() bool { return false }

// SendBlocked implements driver.Driver. The kernel tries a send when it is submitted. If that takes bytes,
// the same turn finds the completion, unless the ring has too many; else the send waits in the ring for
// the socket to become writable.
func (d *Driver) SendBlocked(s *driver.Stream) bool {
	switch {
	case s.Flags&awaitingWritable != 0:
		return true
	case d.slots.At(s.Index).sendTurn == d.turn || len(d.queuedSQEs) > 0:
		return false // it may not be submitted
	}
	first, end := d.ring.Ready()
	return first == end
}

// Send implements driver.Driver.
func (d *Driver) Send(s *driver.Stream, bufs [][]byte) (int, error) {
	x := d.slots.At(s.Index)
	total := 0
	for _, b := range bufs {
		total += len(b)
	}
	if total == 0 {
		return 0, nil
	}
	x.sendTurn = d.turn
	if len(bufs) == 1 {
		b, n := bufs[0], 0
		if d.onlyOne {
			var err error
			if n, err = s.Write(b); n == total || err != nil && err != sock.ErrWouldBlock {
				return n, err
			}
			b = b[n:]
		}
		s.Flags |= sending
		d.sendBytes += len(b)
		x.bytes = unsafe.SliceData(b)
		d.begin(opSend, s.Index).SetSend(sys.FD(x.fd), b)
		return n, nil
	}
	s.Flags |= sending
	d.sendBytes += total
	x.message = d.newMessage()
	for _, b := range bufs {
		if !x.message.Add(b) {
			break
		}
	}
	d.begin(opSend, s.Index).SetSendv(sys.FD(x.fd), x.message)
	return 0, nil
}

// sent handles a completion of a send.
func (d *Driver) sent(index uint32, res int32) {
	x := d.slots.At(index)
	s := x.stream
	s.Flags &^= sending
	x.bytes = nil
	if m := x.message; m != nil {
		x.message = nil
		d.freeMessage(m)
	}
	e := syscall.Errno(-res)
	switch {
	case s.Flags&gone != 0:
		d.finishIfIdle(s)
		if res > 0 {
			s.Up.Sent(int(res), nil) // last: the upcall may end the goroutine (runtime.Goexit)
		}
	case res >= 0:
		s.Up.Sent(int(res), nil)
	case e == syscall.EAGAIN && d.awaitStreamWritable(s):
	case isTransient(e):
		s.Up.Sent(0, nil)
	default:
		s.Up.Sent(0, failure("write", "send", handle.Of(s), s.LocalNetAddr(), s.RemoteNetAddr(), e))
	}
}

// maxMessages is how many messages of vectored sends are kept for reuse, of about a kilobyte
// each.
const maxMessages = 256

func (d *Driver) newMessage() *sys.URingMessage {
	n := len(d.messages)
	if n == 0 {
		return new(sys.URingMessage)
	}
	m := d.messages[n-1]
	d.messages = d.messages[:n-1]
	return m
}

func (d *Driver) freeMessage(m *sys.URingMessage) {
	m.Clear()
	if len(d.messages) < maxMessages {
		d.messages = append(d.messages, m)
	}
}
