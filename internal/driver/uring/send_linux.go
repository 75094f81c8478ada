package uring

import (
	"syscall"
	"unsafe"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/sys"
)

// Sends are submitted, and go out when the turn enters the ring, all in one call. That
// beat a send(2) of each at once (docs/performance.md). So nothing is taken
// synchronously: what is sent stays where the loop has it until the kernel has
// completed the send, or its cancellation, and is referred to from here meanwhile.
//
// A send is not asked to wait until all is sent (MSG_WAITALL): then a peer that takes
// little at a time would look like one that takes nothing.

// SyncSend implements driver.Driver.
func (d *Driver) SyncSend() bool { return false }

// Send implements driver.Driver.
func (d *Driver) Send(s *driver.Stream, bufs [][]byte) (int, error) {
	x := &d.slots[s.Index]
	total := 0
	for _, b := range bufs {
		total += len(b)
	}
	if total == 0 {
		return 0, nil
	}
	s.Flags |= sending
	d.sendBytes += total
	if len(bufs) == 1 {
		x.bytes = unsafe.SliceData(bufs[0])
		d.begin(opSend, s.Index).SetSend(x.fd, bufs[0])
		return 0, nil
	}
	x.message = d.newMessage()
	for _, b := range bufs {
		if !x.message.Add(b) {
			break
		}
	}
	d.begin(opSend, s.Index).SetSendv(x.fd, x.message)
	return 0, nil
}

// sent takes a completion of a send.
func (d *Driver) sent(index uint32, res int32) {
	x := &d.slots[index]
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
	case res >= 0:
		s.Up.Sent(int(res), nil)
	case e == syscall.EAGAIN && d.awaitSendRoom(s):
	case isPassing(e):
		s.Up.Sent(0, nil)
	default:
		s.Up.Sent(0, failure("write", "send", s.PollHandle(), s.LocalNetAddr(), s.RemoteNetAddr(), e))
	}
}

// maxMessages is how many messages of vectored sends are kept for later, of about a
// kilobyte each.
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
