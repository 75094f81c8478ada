package kqueue

import (
	"os"
	"syscall"
)

// How waiters are woken.
//
// Each waiter blocks its thread in kevent(2), all on one kqueue. One knote is
// there to wake them, with EV_CLEAR: EVFILT_USER where the kernel has it, or else
// the reading end of a pipe that always has a byte in it. To trigger it is to
// trigger the first, or to add the second again, which fires because there is
// something to read; so nobody needs to write to the pipe, drain it, or care
// that it might be full.
//
// With EV_CLEAR one trigger reaches one waiter. To release all of them, each that
// leaves triggers the knote for the next: a level-triggered knote instead would
// leave some waiters asleep for good on NetBSD, which puts it back without waking
// them.
//
// A trigger says nothing by itself: what it is about is in the Notices and
// the brokenList. A waiter counts itself in blocked before it looks at these for
// the last time; who sets one of them looks at blocked afterwards. So either the
// waiter sees what there is, or it gets the trigger. Whoever takes a trigger but
// leaves its cause for others passes it on.

const wakeIdent = 0

// initWake makes the knote, or what it will watch.
func (s *Selector) initWake() error {
	if s.traits.User {
		k := []Kevent{{Ident: wakeIdent, Filter: FilterUser, Flags: FlagAdd | FlagClear}}
		if e := s.kevent(k); e != 0 {
			return os.NewSyscallError("kevent", e)
		}
		// EV_CLEAR in the trigger's own flags would undo it.
		s.wake[0] = Kevent{Ident: wakeIdent, Filter: FilterUser, Fflags: NoteTrigger}
		return nil
	}
	var e syscall.Errno
	if s.pipe[0], s.pipe[1], e = s.kernel.WakePipe(); e != 0 {
		return os.NewSyscallError("pipe", e)
	}
	s.wake[0] = Kevent{Ident: uint64(s.pipe[0]), Filter: FilterRead, Flags: FlagAdd | FlagClear}
	return nil
}

// isWake reports whether the kernel's event is the wake-up.
func (s *Selector) isWake(k *Kevent) bool {
	return k.Ident == s.wake[0].Ident && k.Filter == s.wake[0].Filter
}

func (s *Selector) trigger() error {
	if e := s.kevent(s.wake[:]); e != 0 {
		return os.NewSyscallError("kevent", e)
	}
	return nil
}

// rouse wakes a waiter that sleeps, if there is one.
func (s *Selector) rouse() error {
	if s.blocked.Load() == 0 {
		return nil
	}
	return s.trigger()
}

// Notify implements selector.Selector.
func (s *Selector) Notify() error {
	if !s.Notices.Notify() {
		return nil
	}
	err := s.rouse()
	if err != nil {
		s.WakeFailed()
	}
	return err
}

// NotifyAll implements selector.Selector.
func (s *Selector) NotifyAll() error {
	s.Notices.NotifyAll()
	return s.rouse()
}

// passOn sees to it that what a leaving waiter leaves behind finds another.
func (s *Selector) passOn(w *wait) {
	cause := w.woken && (s.Noticed() || s.broken.any())
	if cause || w.level && s.traits.SilentRequeue {
		s.rouse()
	}
}
