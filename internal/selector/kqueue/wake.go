package kqueue

import (
	"os"
	"syscall"
)

// How waiters are woken.
//
// Each waiter blocks its thread in kevent(2), all on one kqueue. One knote with
// EV_CLEAR wakes them: EVFILT_USER where the kernel has it, or else the reading end
// of a pipe that always has a byte in it. The first is triggered by NOTE_TRIGGER,
// the second by adding it again, which fires because the pipe is readable; so
// waking never writes to the pipe or drains it, and a full pipe does not matter.
//
// With EV_CLEAR one trigger reaches one waiter. To wake all of them, each waiter
// that leaves triggers the knote for the next. With a level-triggered knote some
// waiters would sleep forever on NetBSD, which puts the knote back without waking
// them.
//
// A trigger carries no information: its cause is in the Notices and the
// brokenList. A waiter counts itself in blocked before it checks these for the
// last time, and a goroutine that sets one of them checks blocked afterwards. So
// the waiter either sees the cause or gets the trigger. A waiter that takes a
// trigger but not its cause triggers the knote again.

const wakeIdent = 0

// initWake prepares wakeChange: it adds the EVFILT_USER knote, or makes the pipe.
func (s *Selector) initWake() error {
	if s.traits.User {
		k := []Kevent{{Ident: wakeIdent, Filter: FilterUser, Flags: FlagAdd | FlagClear}}
		if e := s.kevent(k); e != 0 {
			return os.NewSyscallError("kevent", e)
		}
		// EV_CLEAR in the trigger's own flags would undo it.
		s.wakeChange[0] = Kevent{Ident: wakeIdent, Filter: FilterUser, Fflags: NoteTrigger}
		return nil
	}
	var e syscall.Errno
	if s.pipe[0], s.pipe[1], e = s.kernel.WakePipe(); e != 0 {
		return os.NewSyscallError("pipe", e)
	}
	s.wakeChange[0] = Kevent{Ident: uint64(s.pipe[0]), Filter: FilterRead, Flags: FlagAdd | FlagClear}
	return nil
}

// isWake reports whether the kernel's event is a wake-up.
func (s *Selector) isWake(k *Kevent) bool {
	return k.Ident == s.wakeChange[0].Ident && k.Filter == s.wakeChange[0].Filter
}

func (s *Selector) trigger() error {
	if e := s.kevent(s.wakeChange[:]); e != 0 {
		return os.NewSyscallError("kevent", e)
	}
	return nil
}

// wake wakes one sleeping waiter, if there is one.
func (s *Selector) wake() error {
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
	err := s.wake()
	if err != nil {
		s.WakeFailed()
	}
	return err
}

// NotifyAll implements selector.Selector.
func (s *Selector) NotifyAll() error {
	s.Notices.NotifyAll()
	return s.wake()
}

// wakeNext wakes another waiter if w, which leaves Wait, has taken a trigger but
// not its cause, or a level-triggered event that the kernel puts back silently.
func (s *Selector) wakeNext(w *wait) {
	cause := w.woken && (s.Notified() || s.broken.any())
	if cause || w.level && s.traits.SilentRequeue {
		s.wake()
	}
}
