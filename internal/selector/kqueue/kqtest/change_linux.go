package kqtest

import (
	"syscall"

	"github.com/pollux-io/pollux/internal/selector/kqueue"
	"github.com/pollux-io/pollux/internal/sys"
)

// change is the first half of kevent(2). done means that kevent(2) returns now,
// with receipts entries in events.
//
// A change that fails gets an entry in events, or ends the call if events is full.
// With EV_RECEIPT a change that succeeds gets an entry, too; if events is full it
// ends the call as well, with 0 and no error.
func (q *queue) change(changes, events []kqueue.Kevent) (receipts int, done bool, e syscall.Errno) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return 0, true, syscall.EBADF
	}
	for i := range changes {
		c := &changes[i]
		e := q.register(c)
		if e == 0 && c.Flags&kqueue.FlagReceipt == 0 {
			continue
		}
		if receipts == len(events) {
			if len(events) > 0 {
				e = 0 // the receipts are lost
			}
			return 0, true, e
		}
		events[receipts] = *c
		events[receipts].Flags = kqueue.FlagError
		events[receipts].Data = int64(e)
		receipts++
	}
	return receipts, receipts > 0, 0
}

// register makes one change (kqueue_register in the kernels).
func (q *queue) register(c *kqueue.Kevent) syscall.Errno {
	kn := q.knotes[name{c.Ident, c.Filter}]
	if kn != nil && q.isClosed(kn) {
		q.drop(kn)
		kn = nil
	}
	if kn == nil && c.Filter != kqueue.FilterUser {
		if _, e := sys.Identify(sys.FD(c.Ident)); e != 0 {
			return e // EBADF: kqueue_register checks the descriptor first
		}
	}
	fresh := kn == nil
	if fresh {
		if c.Flags&kqueue.FlagAdd == 0 {
			return syscall.ENOENT
		}
		var e syscall.Errno
		if kn, e = q.attach(c); e != 0 {
			return e
		}
	}
	if c.Flags&kqueue.FlagDelete != 0 {
		q.drop(kn)
		return 0
	}
	kn.udata = c.Udata & (1<<q.kernel.Flavour.Traits.UdataBits - 1)
	if kn.filter == kqueue.FilterUser {
		q.changeUser(kn, c, fresh)
		return 0
	}
	kn.fflags, kn.data = c.Fflags, c.Data
	q.enable(kn, c.Flags)
	if c.Flags&kqueue.FlagAdd != 0 {
		q.activate(kn)
	}
	return 0
}

// enable applies EV_DISABLE and EV_ENABLE.
func (q *queue) enable(kn *knote, flags uint16) {
	if flags&kqueue.FlagDisable != 0 {
		kn.disabled = true
		q.unqueue(kn)
	}
	if flags&kqueue.FlagEnable == 0 || !kn.disabled {
		return
	}
	kn.disabled = false
	switch {
	case kn.active:
		q.enqueue(kn)
	case q.kernel.EnableFires:
		q.activate(kn)
	}
}

func (q *queue) unqueue(kn *knote) {
	if !kn.queued {
		return
	}
	kn.queued = false
	for i, other := range q.ready {
		if other == kn {
			q.ready = append(q.ready[:i], q.ready[i+1:]...)
			return
		}
	}
}

// changeUser changes an EVFILT_USER knote. The change that makes it does not
// trigger it, and EV_CLEAR in a change that triggers it clears the trigger
// immediately.
func (q *queue) changeUser(kn *knote, c *kqueue.Kevent, fresh bool) {
	if fresh {
		return
	}
	if c.Fflags&kqueue.NoteTrigger != 0 {
		kn.triggered = true
	}
	if c.Flags&kqueue.FlagClear != 0 {
		kn.triggered = false
	}
	q.activate(kn)
}
