package uring

import "github.com/pollux-io/pollux/internal/sys"

// abandon gives up the operations of released streams, listeners and sockets, since the ring
// no longer completes them. It ends the streams' connections, so that the kernel no longer
// reads memory that their owners may reuse: the descriptors are closed, but the kernel keeps the
// sockets open for its operations.
func (d *Driver) abandon() {
	d.abandoned = true
	for i := range d.slots.Len() {
		if s := d.slots.At(i).stream; s != nil && s.Flags&gone != 0 {
			sys.ShutdownAsClose(sys.FD(d.slots.At(i).fd))
			s.Flags &^= operating
			d.finishIfIdle(s)
		}
	}
	for _, a := range d.listeners.All() {
		if a.l.Flags&unlisted != 0 {
			a.armed = false
			d.finishListenerIfIdle(a)
		}
	}
	d.abandonPackets()
}

// isAbandoned reports whether abandon has given the operation up.
func (d *Driver) isAbandoned(op uint64, index uint32) bool {
	switch op {
	case opReceive, opSend, opConnect:
		return d.slots.At(index).stream == nil
	case opAccept:
		return d.listeners.At(index) == nil
	}
	return d.packets.isAbandoned(op, index)
}
