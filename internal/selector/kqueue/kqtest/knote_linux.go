package kqtest

import (
	"slices"
	"syscall"

	"github.com/pollux-io/pollux/internal/selector/kqueue"
	"github.com/pollux-io/pollux/internal/sys"
)

// name identifies a knote of a queue.
type name struct {
	ident  uint64
	filter kqueue.Filter
}

// knote is one thing that a queue watches for.
type knote struct {
	name
	flags  uint16 // EV_CLEAR, EV_ONESHOT, EV_DISPATCH: these never change
	fflags uint32
	data   int64
	udata  uint64

	kind      string // of file
	file      sys.FileID
	connected bool // the socket was connected at an earlier check

	active   bool // the filter has fired
	disabled bool
	queued   bool

	triggered bool // FilterUser
	acks      int  // see AckEdges: in tenths of an edge
	unread    int  // of a pipe, at the last check; see ExtraPipeEdges
	taken     int  // calls that have taken it and not yet detached it; see OneshotRace
	freed     bool // detached while it was taken
}

// countsBytes reports whether a change of the number of bytes in a pipe fires the knote.
func (q *queue) countsBytes(kn *knote) bool {
	return q.kernel.ExtraPipeEdges && kn.kind == "pipe" && kn.flags&kqueue.FlagClear != 0
}

func (kn *knote) isLevel() bool {
	return kn.flags&(kqueue.FlagClear|kqueue.FlagOneshot|kqueue.FlagDispatch) == 0
}

// status is the state of a file as its filter sees it.
type status struct {
	ready  bool
	eof    bool
	fflags uint32
	data   int64
}

// check returns whether the knote is ready now, and its event's data (f_event in the kernels).
func (kn *knote) check() (s status) {
	if kn.filter == kqueue.FilterUser {
		return status{ready: kn.triggered}
	}
	fd := sys.FD(kn.ident)
	bits := sys.Readiness(fd)
	if bits&sys.POLLNVAL != 0 {
		return s
	}
	hung, failed := bits&sys.POLLHUP != 0, bits&sys.POLLERR != 0
	switch kn.filter {
	case kqueue.FilterRead:
		s.data = int64(unreadBytes(fd))
		s.eof = hung || bits&sys.POLLRDHUP != 0
		s.ready = s.eof || failed || bits&sys.POLLIN != 0
		if kn.fflags&kqueue.NoteLowat != 0 && kn.kind == "socket" {
			s.ready = s.eof || failed || s.data >= kn.data
		}
	case kqueue.FilterWrite:
		s.eof = hung || failed && kn.kind == "pipe" || kn.kind == "socket" && sys.TCPWriteShut(fd)
		s.ready = s.eof || failed || bits&sys.POLLOUT != 0
	case kqueue.FilterExcept:
		s.ready = bits&sys.POLLPRI != 0
		if s.ready {
			s.fflags = kqueue.NoteOOB
		}
	}
	if kn.kind == "socket" {
		kn.noteConnected(fd)
		if s.eof && failed {
			s.fflags = kn.socketError()
		}
	}
	return s
}

func (kn *knote) noteConnected(fd sys.FD) {
	if !kn.connected {
		_, e := sys.PeerAddr(fd)
		kn.connected = e == 0
	}
}

// socketError guesses the pending error: on Linux, reading it clears it.
func (kn *knote) socketError() uint32 {
	if kn.connected {
		return uint32(syscall.ECONNRESET)
	}
	return uint32(syscall.ECONNREFUSED)
}

// event returns the event that is delivered for the knote.
func (kn *knote) event(s status, withAdd bool) kqueue.Kevent {
	e := kqueue.Kevent{
		Ident: kn.ident, Filter: kn.filter, Flags: kn.flags,
		Fflags: s.fflags, Data: s.data, Udata: kn.udata,
	}
	if s.eof {
		e.Flags |= kqueue.FlagEOF
	}
	if withAdd {
		e.Flags |= kqueue.FlagAdd
	}
	return e
}

// isClosed reports whether the knote's descriptor was closed. On the BSDs that drops
// its knotes immediately, even while a duplicate is open; the model drops a knote
// when it next uses it.
func (q *queue) isClosed(kn *knote) bool {
	if kn.filter == kqueue.FilterUser {
		return false
	}
	file, e := sys.Identify(sys.FD(kn.ident))
	return e != 0 || file != kn.file
}

// drop detaches a knote from the queue.
func (q *queue) drop(kn *knote) {
	delete(q.knotes, kn.name)
	q.unqueue(kn)
	if q.countsBytes(kn) {
		i := slices.Index(q.pipes, kn)
		q.pipes = slices.Delete(q.pipes, i, i+1)
	}
	if kn.filter != kqueue.FilterUser && !q.isClosed(kn) {
		var ev sys.EpollEvent
		sys.EpollCtl(q.sets[kn.filter-kqueue.FilterRead], sys.EPOLL_CTL_DEL, sys.FD(kn.ident), &ev)
	}
	if kn.taken > 0 {
		kn.freed = true
		return // not reused, so that the calls that have taken it see freed
	}
	*kn = knote{}
	q.spare = append(q.spare, kn)
}

// attach makes a new knote.
func (q *queue) attach(c *kqueue.Kevent) (*knote, syscall.Errno) {
	var kn *knote
	if n := len(q.spare); n > 0 {
		kn, q.spare = q.spare[n-1], q.spare[:n-1]
	} else {
		kn = new(knote)
	}
	kn.name = name{c.Ident, c.Filter}
	kn.flags = c.Flags & (kqueue.FlagClear | kqueue.FlagOneshot | kqueue.FlagDispatch)
	if e := q.attachFile(kn); e != 0 {
		*kn = knote{}
		q.spare = append(q.spare, kn)
		return nil, e
	}
	q.knotes[kn.name] = kn
	if q.countsBytes(kn) {
		kn.unread = unreadBytes(sys.FD(kn.ident))
		q.pipes = append(q.pipes, kn)
	}
	return kn, 0
}

func (q *queue) attachFile(kn *knote) syscall.Errno {
	traits := q.kernel.Flavour.Traits
	switch kn.filter {
	case kqueue.FilterUser:
		if !traits.User {
			return syscall.EINVAL
		}
		return 0
	case kqueue.FilterExcept:
		if !traits.Except {
			return syscall.EINVAL
		}
	}
	fd := sys.FD(kn.ident)
	var e syscall.Errno
	if kn.file, e = sys.Identify(fd); e != 0 {
		return e
	}
	kn.kind = sys.FileKind(fd)
	if kn.filter == kqueue.FilterWrite && kn.kind == "pipe" && sys.Readiness(fd)&sys.POLLERR != 0 {
		return q.kernel.BrokenPipe
	}
	i := kn.filter - kqueue.FilterRead
	ev := sys.MakeEpollEvent(epollEvents[i], kn.ident)
	e = sys.EpollCtl(q.sets[i], sys.EPOLL_CTL_ADD, fd, &ev)
	if e == syscall.EPERM || e == syscall.EEXIST {
		return 0 // a regular file: always ready; or the set still contains it
	}
	return e
}
