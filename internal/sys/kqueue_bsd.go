//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package sys

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flags of a kevent (kqueue(2)), the same on all of these systems. EV_RECEIPT and
// EV_DISPATCH are in kqueue_dispatch.go.
const (
	EV_ADD     = unix.EV_ADD
	EV_DELETE  = unix.EV_DELETE
	EV_ENABLE  = unix.EV_ENABLE
	EV_DISABLE = unix.EV_DISABLE
	EV_ONESHOT = unix.EV_ONESHOT
	EV_CLEAR   = unix.EV_CLEAR
	EV_ERROR   = unix.EV_ERROR
	EV_EOF     = unix.EV_EOF

	EVFILT_READ  = unix.EVFILT_READ
	EVFILT_WRITE = unix.EVFILT_WRITE

	NOTE_LOWAT = unix.NOTE_LOWAT
)

// Kevent is struct kevent. Its user data is as wide as a pointer. It is read and written as
// a number, because Go's garbage collector must never find a number in a field of pointer
// type.
type Kevent struct{ raw unix.Kevent_t }

// Set stores a change. data is truncated to the size of a pointer.
func (k *Kevent) Set(ident uint64, filter int, flags uint32, fflags uint32, data int64, udata uint64) {
	k.raw = unix.Kevent_t{}
	unix.SetKevent(&k.raw, int(ident), filter, int(flags))
	k.raw.Fflags = fflags
	k.raw.Data = data
	*k.udata() = uintptr(udata)
}

// Ident returns the descriptor, or another identifier, depending on the filter.
func (k *Kevent) Ident() uint64 { return uint64(k.raw.Ident) }

// Filter returns the filter: one of the EVFILT constants.
func (k *Kevent) Filter() int { return int(k.raw.Filter) }

// Flags returns the EV flags.
func (k *Kevent) Flags() uint32 { return uint32(k.raw.Flags) }

// Fflags returns the flags of the filter.
func (k *Kevent) Fflags() uint32 { return k.raw.Fflags }

// Data returns the filter's data.
func (k *Kevent) Data() int64 { return k.raw.Data }

// Udata returns the user data.
func (k *Kevent) Udata() uint64 { return uint64(*k.udata()) }

func (k *Kevent) udata() *uintptr { return (*uintptr)(unsafe.Pointer(&k.raw.Udata)) }

// Kqueue returns a close-on-exec kqueue descriptor. A child does not inherit a
// kqueue by fork(2) anyway (kqueue(2)).
func Kqueue() (FD, syscall.Errno) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Kqueue()
	if err != nil {
		return InvalidFD, errno(err)
	}
	unix.CloseOnExec(fd)
	return fd, 0
}

// KeventCall is kevent(2): it applies the changes, then returns events. Without a timeout
// it blocks until there are events; with a timeout of zero it does not block. It returns
// EINTR if a signal interrupts it.
func KeventCall(kq FD, changes, events []Kevent, timeout *time.Duration) (int, syscall.Errno) {
	var t *unix.Timespec
	if timeout != nil {
		ts := unix.NsecToTimespec(int64(*timeout))
		t = &ts
		if *timeout == 0 {
			return kevent(true, kq, changes, events, t)
		}
	}
	return kevent(false, kq, changes, events, t)
}

func dataOfKevents(k []Kevent) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(k)) }
