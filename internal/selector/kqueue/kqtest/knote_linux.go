package kqtest

import (
	"slices"
	"syscall"

	"github.com/pollux-io/pollux/internal/selector/kqueue"
	"github.com/pollux-io/pollux/internal/sys"
)

// name is what a knote is found by.
type name struct {
	ident  uint64
	filter kqueue.Filter
}

// knote is one thing that a queue watches for.
type knote struct {
	name
	flags  uint16 // EV_CLEAR, EV_ONESHOT, EV_DISPATCH: for good
	fflags uint32
	data   int64
	udata  uint64

	kind      string // of file
	file      sys.FileID
	connected bool // it was, when somebody looked

	active   bool // it happened
	disabled bool
	queued   bool

	triggered bool // FilterUser
	acks      int  // see AckEdges: in tenths of an edge
	unread    int  // of a pipe, at the last look; see ExtraPipeEdges
	inHand    int  // calls that have taken it and not yet detached it; see OneshotRace
	freed     bool // detached while it was in hand
}

// countsBytes reports whether changes of what a pipe holds fire the knote.
func (q *queue) countsBytes(kn *knote) bool {
	return q.kernel.ExtraPipeEdges && kn.kind == "pipe" && kn.flags&kqueue.FlagClear != 0
}

func (kn *knote) isLevel() bool {
	return kn.flags&(kqueue.FlagClear|kqueue.FlagOneshot|kqueue.FlagDispatch) == 0
}

// sight is what a look at the file has shown.
type sight struct {
	ready  bool
	eof    bool
	fflags uint32
	data   int64
}

// look asks whether the knote is ready now (f_event in the kernels).
func (kn *knote) look() (s sight) {
	if kn.filter == kqueue.FilterUser {
		return sight{ready: kn.triggered}
	}
	fd := sys.FD(kn.ident)
	bits := sys.Readiness(fd)
	if bits&sys.POLLNVAL != 0 {
		return s
	}
	hung, failed := bits&sys.POLLHUP != 0, bits&sys.POLLERR != 0
	switch kn.filter {
	case kqueue.FilterRead:
		s.data = int64(sys.Unread(fd))
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
		kn.lookAtConnection(fd)
		if s.eof && failed {
			s.fflags = kn.socketError()
		}
	}
	return s
}

func (kn *knote) lookAtConnection(fd sys.FD) {
	if !kn.connected {
		_, e := sys.PeerAddr(fd)
		kn.connected = e == 0
	}
}

// socketError guesses the pending error, which Linux shows only to those who take
// it away.
func (kn *knote) socketError() uint32 {
	if kn.connected {
		return uint32(syscall.ECONNRESET)
	}
	return uint32(syscall.ECONNREFUSED)
}

// event is the knote as it is handed out.
func (kn *knote) event(s sight, withAdd bool) kqueue.Kevent {
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

// isGone reports whether the knote's descriptor was closed: that drops its knotes
// on the BSDs, at once, even while a duplicate is open. The model finds out when
// it comes across one.
func (q *queue) isGone(kn *knote) bool {
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
	if kn.filter != kqueue.FilterUser && !q.isGone(kn) {
		var ev sys.EpollEvent
		sys.EpollCtl(q.sets[kn.filter-kqueue.FilterRead], sys.EPOLL_CTL_DEL, sys.FD(kn.ident), &ev)
	}
	if kn.inHand > 0 {
		kn.freed = true
		return // those who have it in hand must find out
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
		kn.unread = sys.Unread(sys.FD(kn.ident))
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
	ev := sys.MakeEpollEvent(happenings[i], kn.ident)
	e = sys.EpollCtl(q.sets[i], sys.EPOLL_CTL_ADD, fd, &ev)
	if e == syscall.EPERM || e == syscall.EEXIST {
		return 0 // a regular file: always ready; or a set that still has it
	}
	return e
}
