package kqueue

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// maxChanges is how many changes one registration needs at most: to delete and
// to add each of three knotes.
const maxChanges = 6

// A changer holds the changes of one call of Add, Modify or Delete, and the
// kernel's receipts.
type changer struct {
	changes  [maxChanges]Kevent
	receipts [maxChanges]Kevent
	n        int
}

// knote is what a registration requires of one filter.
type knote struct {
	wanted bool
	flags  uint16
	fflags uint32
	data   int64
}

// hangUpOnly is a low-water mark that no buffer reaches: such a knote fires for
// the end of the stream and for errors only (kqueue(2), NOTE_LOWAT).
const hangUpOnly = 1 << 30

// knoteFor returns the knote of filter f for interest and trigger.
func (t Traits) knoteFor(f Filter, interest selector.Interest, trigger selector.Trigger) knote {
	k := knote{flags: addFlags(trigger)}
	switch f {
	case FilterRead:
		k.wanted = interest&selector.Readable != 0
		if interest == selector.Priority {
			// Errors and hang-ups are reported whatever the interest is; filters
			// for urgent data do not report them.
			k.wanted, k.fflags, k.data = true, NoteLowat, hangUpOnly
			if trigger&selector.Oneshot == 0 {
				k.flags = FlagAdd | FlagClear
			}
		}
	case FilterWrite:
		k.wanted = interest&selector.Writable != 0
	case FilterExcept:
		k.wanted = interest&selector.Priority != 0 && t.Except
		k.fflags = NoteOOB
	}
	return k
}

// addFlags returns the flags with which a knote is added. EV_DISPATCH is used without
// EV_CLEAR, with which NetBSD ignores it. EV_ENABLE enables a knote that EV_DISPATCH has
// disabled. EV_ADD with it fires for existing readiness; on NetBSD EV_ENABLE alone does not.
func addFlags(trigger selector.Trigger) uint16 {
	switch {
	case trigger&selector.Oneshot != 0:
		return FlagAdd | FlagEnable | FlagDispatch
	case trigger&selector.Level != 0:
		return FlagAdd
	}
	return FlagAdd | FlagClear
}

// plan adds to c the changes that lead from one state of a watch to another; a
// state without held has no knotes. A knote that remains is added again, which
// sets its new user data and reports existing readiness again. That does not
// change its flags, so a knote whose mode changes is deleted first.
func (c *changer) plan(t Traits, fd sys.FD, from, to uint64) {
	for f := FilterRead; f <= FilterExcept; f++ {
		var old, now knote
		if from&held != 0 {
			old = t.knoteFor(f, interestOf(from), triggerOf(from))
		}
		if to&held != 0 {
			now = t.knoteFor(f, interestOf(to), triggerOf(to))
		}
		if old.wanted && old != now {
			c.put(Kevent{Ident: uint64(fd), Filter: f, Flags: FlagDelete})
		}
		if now.wanted {
			c.put(Kevent{
				Ident: uint64(fd), Filter: f, Flags: now.flags,
				Fflags: now.fflags, Data: now.data, Udata: versionOf(to) & t.udataMask(),
			})
		}
	}
}

func (t Traits) udataMask() uint64 { return 1<<t.UdataBits - 1 }

func (c *changer) put(k Kevent) {
	k.Flags |= FlagReceipt
	c.changes[c.n] = k
	c.n++
}

// apply makes the changes. refused reports that the kernel refused EVFILT_WRITE
// of a broken pipe, which is not an error.
//
// The event list has space for the receipt of each change: with less, kevent(2) returns
// early and may skip later changes. A call that makes changes without EV_RECEIPT passes no
// event list (Selector.kevent), because the kernel would fill it with events.
func (s *Selector) apply(c *changer, fd sys.FD) (refused bool, err error) {
	defer func() { c.n = 0 }()
	if c.n == 0 {
		return false, nil
	}
	n, e := s.keventReceipts(c)
	if e != 0 {
		return false, os.NewSyscallError("kevent", e)
	}
	if n != c.n {
		return false, fmt.Errorf("kevent: %d receipts for %d changes", n, c.n)
	}
	for i := range n {
		r, e := s.checkReceipt(&c.changes[i], syscall.Errno(c.receipts[i].Data), fd)
		refused = refused || r
		err = errors.Join(err, e)
	}
	return refused, err
}

// kevent makes changes without receipts. An interrupted call is repeated:
// changes are idempotent.
func (s *Selector) kevent(changes []Kevent) syscall.Errno {
	for {
		_, e := s.kernel.Kevent(s.kq, changes, nil, &s.noTimeout)
		if e != syscall.EINTR {
			return e
		}
	}
}

func (s *Selector) keventReceipts(c *changer) (int, syscall.Errno) {
	for {
		n, e := s.kernel.Kevent(s.kq, c.changes[:c.n], c.receipts[:c.n], &s.noTimeout)
		if e != syscall.EINTR {
			return n, e
		}
	}
}

// checkReceipt interprets e, the receipt of change k.
func (s *Selector) checkReceipt(k *Kevent, e syscall.Errno, fd sys.FD) (refused bool, err error) {
	switch {
	case e == 0:
		return false, nil
	case k.Flags&FlagDelete != 0 && (e == syscall.ENOENT || e == syscall.EBADF):
		// The kernel never accepted it, or its descriptor is closed.
		return false, nil
	case k.Filter == FilterWrite && s.isBrokenPipe(e, fd):
		return true, nil
	case isUnsupported(e) && k.Filter == FilterExcept:
		return false, nil // this kind of file has no urgent data
	case isUnsupported(e):
		return false, fmt.Errorf("%s: %w", s.kernel.FileKind(fd), selector.ErrNotPollable)
	}
	return false, os.NewSyscallError("kevent", e)
}

// isBrokenPipe reports whether e means that fd is the writing end of a pipe without
// a reader: EPIPE on FreeBSD, OpenBSD and macOS, EBADF on NetBSD (pipe_kqfilter in
// sys_pipe.c).
func (s *Selector) isBrokenPipe(e syscall.Errno, fd sys.FD) bool {
	return e == syscall.EPIPE || e == syscall.EBADF && s.kernel.FileKind(fd) == "pipe"
}

// isUnsupported reports whether e means that the file does not support the filter:
// EINVAL in kqueue(2), other numbers from drivers and file systems.
func isUnsupported(e syscall.Errno) bool {
	switch e {
	case syscall.EINVAL, syscall.ENODEV, syscall.EPERM:
		return true
	}
	return e == syscall.ENOTSUP || e == syscall.EOPNOTSUPP // one number on some systems
}
