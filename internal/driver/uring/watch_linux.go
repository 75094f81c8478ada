package uring

import (
	"fmt"
	"os"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/hook"
	"github.com/pollux-io/pollux/internal/selector/epoll"
	"github.com/pollux-io/pollux/internal/sys"
)

// watches is the sources that are no streams. They are in an epoll set, made for the
// first of them, and the ring polls that: so Unwatch takes effect at once, and leaves
// nothing in the ring that would keep a closed socket's address.
type watches struct {
	epfd   sys.FD
	armed  bool
	more   bool // there may be events
	events [maxWatchEvents]sys.EpollEvent

	all        []*driver.Watch
	free       []uint32
	generation uint32
}

// maxWatchEvents is how many events of sources one turn brings.
const maxWatchEvents = 64

func (w *watches) close() {
	if w.epfd != sys.InvalidFD {
		sys.Close(w.epfd)
	}
}

// Watch implements driver.Driver.
func (d *Driver) Watch(w *driver.Watch) error {
	t := &d.watches
	if t.epfd == sys.InvalidFD {
		epfd, e := sys.EpollCreate()
		if e != 0 {
			return os.NewSyscallError("epoll_create1", e)
		}
		t.epfd = epfd
	}
	h := w.Source.PollHandle()
	fd, ok := h.Use()
	if !ok {
		return fmt.Errorf("uring: watching a %v: %w", h.Kind(), pollux.ErrSourceClosed)
	}
	defer h.Done()
	index := uint32(len(t.all))
	if n := len(t.free); n > 0 {
		index = t.free[n-1]
	}
	t.generation++
	const events = sys.EPOLLIN | sys.EPOLLOUT | sys.EPOLLPRI | sys.EPOLLRDHUP | sys.EPOLLET
	ev := sys.MakeEpollEvent(events, uint64(t.generation)<<32|uint64(index))
	switch e := sys.EpollCtl(t.epfd, sys.EPOLL_CTL_ADD, fd, &ev); {
	case sys.IsNotPollable(e):
		return fmt.Errorf("uring: watching a %s: %w", sys.FileKind(fd), pollux.ErrNotPollable)
	case e != 0:
		return fmt.Errorf("uring: watching a %v: %w", h.Kind(), os.NewSyscallError("epoll_ctl", e))
	}
	if int(index) == len(t.all) {
		t.all = append(t.all, nil)
	} else {
		t.free = t.free[:len(t.free)-1]
	}
	w.Index, w.Generation, t.all[index] = index, t.generation, w
	if !t.armed {
		t.armed = true
		d.begin(opWatches, 0).SetPoll(t.epfd, sys.POLLIN, sys.IORING_POLL_ADD_MULTI)
	}
	return nil
}

// Unwatch implements driver.Driver.
func (d *Driver) Unwatch(w *driver.Watch) {
	t := &d.watches
	t.all[w.Index] = nil
	t.free = append(t.free, w.Index)
	h := w.Source.PollHandle()
	if fd, ok := h.Use(); ok { // a source that is closed is out of the set
		var none sys.EpollEvent
		sys.EpollCtl(t.epfd, sys.EPOLL_CTL_DEL, fd, &none)
		h.Done()
	}
}

// harvestWatches tells of the sources.
func (d *Driver) harvestWatches() {
	t := &d.watches
	if !t.more {
		return
	}
	n, _ := sys.EpollPoll(t.epfd, t.events[:])
	t.more = n == len(t.events)
	for i := range t.events[:n] {
		data := t.events[i].Data()
		w := t.all[uint32(data)]
		if w != nil && w.Generation == uint32(data>>32) {
			w.Up.Ready(hook.Event(epoll.Flags(t.events[i].Events())).(pollux.Event))
		}
	}
	if !t.armed && !d.sleep.ending {
		t.armed = true
		d.begin(opWatches, 0).SetPoll(t.epfd, sys.POLLIN, sys.IORING_POLL_ADD_MULTI)
	}
}
