package uring

import (
	"fmt"
	"os"
	"sync"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// watches is the watched sources. They are in an epoll set, created for the first of them, and
// the ring polls that set. So Unwatch takes effect immediately, and leaves no operation in the
// ring that would keep the address of a closed socket in use.
//
// It is the owner of the sources' registrations, as a Poll would be. So a source has one queue
// at a time, and closing it removes it from the set even if there are duplicates of its
// descriptor.
type watches struct {
	mu   sync.Mutex // guards epfd against Release; lock a source's handle first
	epfd sys.FD

	armed   bool
	pending bool // there may be events
	events  [maxWatchEvents]sys.EpollEvent

	table driver.Table[driver.Watch]
}

// maxWatchEvents is how many events of the epoll set one turn handles.
const maxWatchEvents = 64

func (t *watches) close() {
	for _, w := range t.table.All() {
		t.disown(handle.Of(w.Source))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.epfd != sys.InvalidFD {
		sys.Close(t.epfd)
		t.epfd = sys.InvalidFD
	}
}

// Release implements handle.Owner: the source is being closed.
func (t *watches) Release(fd sys.FD, _ selector.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.epfd != sys.InvalidFD {
		var none sys.EpollEvent
		sys.EpollCtl(t.epfd, sys.EPOLL_CTL_DEL, fd, &none)
	}
}

// Rearm implements handle.Owner.
func (t *watches) Rearm(sys.FD, selector.Key, selector.Interest) {}

// NeedsRearm implements handle.Owner.
func (t *watches) NeedsRearm() bool { return false }

// Ended implements handle.Owner: close leaves no registration.
func (t *watches) Ended() bool { return false }

// disown ends the registration of a source if this set owns it.
func (t *watches) disown(h *handle.Handle) {
	fd, r, err := h.Lock()
	if err != nil {
		return // closing it has removed it from the set
	}
	defer h.Unlock()
	if r.Owner == handle.Owner(t) {
		h.Set(handle.Registration{})
		t.Release(fd, r.Key)
	}
}

// Watch implements driver.Driver.
func (d *Driver) Watch(w *driver.Watch) error {
	t := &d.watches
	h := handle.Of(w.Source)
	fd, r, err := h.Lock()
	if err != nil {
		return watchError(h.Kind().String(), pollux.ErrSourceClosed)
	}
	defer h.Unlock()
	if err := r.CheckFree(t); err != nil {
		return watchError(h.Kind().String(), err)
	}
	if err := d.openWatches(); err != nil {
		return err
	}
	t.table.Add(w, &w.State)
	ev := sys.MakeEpollEvent(selector.EpollEvents(w.Interest)|sys.EPOLLET, uint64(w.Generation)<<32|uint64(w.Index))
	if e := sys.EpollCtl(t.epfd, sys.EPOLL_CTL_ADD, fd, &ev); e != 0 {
		t.table.Remove(&w.State)
		if sys.IsNotPollable(e) {
			return watchError(sys.FileKind(fd), pollux.ErrNotPollable)
		}
		return watchError(h.Kind().String(), os.NewSyscallError("epoll_ctl", e))
	}
	h.Set(handle.Registration{Owner: t})
	return nil
}

// openWatches creates the epoll set, and has the ring poll it.
func (d *Driver) openWatches() error {
	t := &d.watches
	if t.epfd == sys.InvalidFD {
		epfd, e := sys.EpollCreate()
		if e != 0 {
			return os.NewSyscallError("epoll_create1", e)
		}
		t.mu.Lock() // Release may run: sockets that the ring serves have this owner too
		t.epfd = epfd
		t.mu.Unlock()
	}
	if !t.armed {
		t.armed = true
		d.begin(opWatches, 0).SetPoll(t.epfd, sys.POLLIN, sys.IORING_POLL_ADD_MULTI)
	}
	return nil
}

func watchError(what string, err error) error {
	return fmt.Errorf("uring: watching a %s: %w", what, err)
}

// Unwatch implements driver.Driver.
func (d *Driver) Unwatch(w *driver.Watch) {
	t := &d.watches
	t.table.Remove(&w.State)
	t.disown(handle.Of(w.Source))
}

// deliverWatches takes the events of the epoll set if its poll has completed, and makes their upcalls.
func (d *Driver) deliverWatches() {
	t := &d.watches
	if !t.pending {
		return
	}
	n, _ := sys.EpollPoll(t.epfd, t.events[:])
	t.pending = n == len(t.events)
	for i := range t.events[:n] {
		data := t.events[i].Data()
		if data&streamEvent != 0 {
			d.setEvent(uint32(data), t.events[i].Events())
			continue
		}
		w := t.table.At(uint32(data))
		if w != nil && w.Generation == uint32(data>>32) {
			w.Up.Ready(selector.EpollFlags(t.events[i].Events()).For(w.Interest))
		}
	}
	if !t.armed && !d.sleep.closing {
		t.armed = true
		d.begin(opWatches, 0).SetPoll(t.epfd, sys.POLLIN, sys.IORING_POLL_ADD_MULTI)
	}
}
