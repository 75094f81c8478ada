// Package kqueue reports readiness by the BSDs' and macOS's kqueue(2).
//
// A registration is up to three knotes: for reading, for writing, and for urgent
// data where the kernel has a filter for it. The kernel's modes do most of the
// work: EV_CLEAR is edge, EV_DISPATCH is oneshot, neither is level. The selector
// handles three differences from its contract: kqueue takes a second registration
// as a change of the first, its user data is only as wide as a pointer, and it may
// give the knotes of one registration to different waiters. watch.go handles these,
// wake.go describes how waiters are woken.
//
// The package calls the kernel through the interface Kernel and so runs on any
// system: kqtest has a model of the BSDs' kernels.
//
// Read watch.go first, the registrations; kqueue.go has the calls that change them, change.go the
// changes of knotes that these make, wait.go a Wait.
package kqueue

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/spin"
	"github.com/pollux-io/pollux/internal/sys"
)

// Selector is a kqueue and its waiters, the calls of Wait on it.
type Selector struct {
	kernel Kernel
	traits Traits
	kq     sys.FD

	watches  watches
	broken   brokenList
	changers sync.Pool // of *changer
	waits    sync.Pool // of *wait

	// See wake.go.
	wakeChange [1]Kevent
	noTimeout  Timespec // zero: calls that make changes do not sleep
	pipe       [2]sys.FD
	selector.Notices
	blocked atomic.Int32

	selector.Pacer
}

// OpenOn returns an empty selector over a kernel.
func OpenOn(kernel Kernel, config selector.Config) (*Selector, error) {
	kq, e := kernel.Kqueue()
	if e != 0 {
		return nil, os.NewSyscallError("kqueue", e)
	}
	s := &Selector{kernel: kernel, traits: kernel.Traits(), kq: kq}
	s.pipe = [2]sys.FD{sys.InvalidFD, sys.InvalidFD}
	s.changers.New = func() any { return new(changer) }
	s.waits.New = func() any { return new(wait) }
	s.Init(config.BusyPoll, false)
	if err := s.initWake(); err != nil {
		kernel.Close(kq)
		return nil, err
	}
	return s, nil
}

// Spin implements selector.Selector.
func (s *Selector) Spin() spin.Stats { return s.Stats() }

// Close closes the kqueue. No other call on s may be running.
func (s *Selector) Close() error {
	for _, fd := range s.pipe {
		if fd != sys.InvalidFD {
			s.kernel.Close(fd)
		}
	}
	s.kernel.Close(s.kq)
	return nil
}

// Add implements selector.Selector.
func (s *Selector) Add(fd sys.FD, key selector.Key, interest selector.Interest, trigger selector.Trigger) error {
	// kqueue accepts files and directories, as always ready or never ready.
	if kind := s.kernel.FileKind(fd); sys.IsAlwaysReady(kind) {
		return fmt.Errorf("%s: %w", kind, selector.ErrNotPollable)
	}
	w := s.watches.getOrMake(fd)
	if w == nil {
		return os.NewSyscallError("kevent", syscall.EBADF)
	}
	old := w.state.Load()
	if old&held != 0 && !s.abandoned(fd, old) || !w.acquire(old) {
		return selector.ErrExists
	}
	if old&broken != 0 {
		s.broken.drop(fd)
	}
	if err := s.change(w, fd, 0, w.set(key, interest, trigger)); err != nil {
		state := w.state.Load()
		w.invalidate()
		s.change(w, fd, state, 0)
		w.release()
		return err
	}
	return nil
}

// abandoned reports whether the kernel has no knote for a descriptor that is held
// here: its file was closed without Delete, and fd is another file under the same
// number. A change without effect shows that: without a knote it is ENOENT, EBADF if
// the number is closed now, and with a knote it sets what is set already. If the
// kernel may have refused the knote, abandoned returns false.
func (s *Selector) abandoned(fd sys.FD, state uint64) bool {
	if state&live == 0 || state&broken != 0 {
		return false
	}
	f := FilterRead
	k := s.traits.knoteFor(f, interestOf(state), triggerOf(state))
	if !k.wanted {
		f = FilterWrite
		k = s.traits.knoteFor(f, interestOf(state), triggerOf(state))
	}
	c := s.changers.Get().(*changer)
	defer s.changers.Put(c)
	c.changes[0] = Kevent{
		Ident: uint64(fd), Filter: f, Fflags: k.fflags, Data: k.data,
		Udata: versionOf(state) & s.traits.udataMask(),
	}
	e := s.kevent(c.changes[:1])
	return e == syscall.ENOENT || e == syscall.EBADF
}

// Modify implements selector.Selector.
func (s *Selector) Modify(fd sys.FD, old, key selector.Key, interest selector.Interest, trigger selector.Trigger) error {
	w := s.watches.get(uint64(fd))
	if w == nil || !w.hasKey(old) {
		return os.NewSyscallError("kevent", syscall.ENOENT)
	}
	from := w.state.Load()
	if from&broken != 0 {
		s.broken.drop(fd)
	}
	return s.change(w, fd, from, w.set(key, interest, trigger))
}

// Delete implements selector.Selector.
func (s *Selector) Delete(fd sys.FD, key selector.Key) error {
	w := s.watches.get(uint64(fd))
	if w == nil || !w.hasKey(key) {
		return os.NewSyscallError("kevent", syscall.ENOENT)
	}
	from := w.state.Load()
	if from&broken != 0 {
		s.broken.drop(fd)
	}
	w.invalidate()
	err := s.change(w, fd, from, 0)
	w.release()
	return err
}

// change changes the kernel's knotes from one state of a watch to another.
func (s *Selector) change(w *watch, fd sys.FD, from, to uint64) error {
	c := s.changers.Get().(*changer)
	defer s.changers.Put(c)
	c.plan(s.traits, fd, from, to)
	refused, err := s.apply(c, fd)
	if refused && err == nil {
		w.state.Or(broken)
		s.broken.put(fd, versionOf(to))
		err = s.wake()
	}
	return err
}

// NeedsRearm implements selector.Selector: the kernel tracks the edges.
func (s *Selector) NeedsRearm() bool { return false }

// WritableIsFree implements selector.Selector: kqueue reports a stream writable
// whenever acknowledgements arrive.
func (s *Selector) WritableIsFree() bool { return false }

// Rearm implements selector.Selector.
func (s *Selector) Rearm(sys.FD, selector.Key, selector.Interest) {}
