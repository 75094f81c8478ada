package kqueue

import (
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// Filter is what a knote watches for. The numbers are this package's own: each
// BSD has others.
type Filter uint8

const (
	FilterRead   Filter = iota + 1 // EVFILT_READ
	FilterWrite                    // EVFILT_WRITE
	FilterExcept                   // EVFILT_EXCEPT, with NoteOOB
	FilterUser                     // EVFILT_USER
)

// Flags of a Kevent: EV_ADD, EV_DELETE and so on (kqueue(2)). The numbers are the
// same on every BSD. The selector does not use EV_ONESHOT: NetBSD before February
// 2022 detaches such a knote outside of its lock, and loses an EV_ADD in between
// (kqtest, OneshotRace).
const (
	FlagAdd      = 0x1
	FlagDelete   = 0x2
	FlagEnable   = 0x4
	FlagDisable  = 0x8
	FlagOneshot  = 0x10
	FlagClear    = 0x20
	FlagReceipt  = 0x40
	FlagDispatch = 0x80
	FlagError    = 0x4000
	FlagEOF      = 0x8000
)

// Flags of a filter, in changes. The numbers are this package's own.
const (
	NoteLowat   = 1 << iota // FilterRead: ready from Data bytes on
	NoteOOB                 // FilterExcept: urgent data
	NoteTrigger             // FilterUser: make it ready
)

// Kevent is struct kevent in a layout common to all systems. In events with
// EV_EOF, Fflags is the socket's pending error, 0 for none.
type Kevent struct {
	Ident  uint64
	Filter Filter
	Flags  uint16
	Fflags uint32
	Data   int64
	Udata  uint64
}

// Timespec is how long a call of Kevent may sleep. Nsec is 0 to 999,999,999.
type Timespec struct{ Sec, Nsec int64 }

// Traits are the properties of a kernel's kqueue.
type Traits struct {
	User   bool // EVFILT_USER
	Except bool // EVFILT_EXCEPT with NOTE_OOB
	// SilentRequeue: a level-triggered event that one waiter has taken is put
	// back without waking the others (observed on NetBSD).
	SilentRequeue bool
	// UdataBits is the width of the user data: that of a pointer.
	UdataBits uint
}

// A Kernel is the interface of the selector to a kernel that has kqueues: the
// real one, or the model in kqtest. Its methods may be called concurrently; they
// do not retain slices and pointers passed to them.
type Kernel interface {
	Traits() Traits
	// Kqueue makes a kqueue.
	Kqueue() (sys.FD, syscall.Errno)
	// Kevent is kevent(2): it applies changes, then returns up to len(events)
	// events; if there are none it sleeps for timeout, forever if timeout is
	// nil. The selector passes at most maxChanges changes and maxBatch events.
	Kevent(kq sys.FD, changes, events []Kevent, timeout *Timespec) (int, syscall.Errno)
	// Close closes a descriptor made by Kqueue or WakePipe.
	Close(fd sys.FD) syscall.Errno
	// WakePipe makes a pipe with a byte in it, for kernels without EVFILT_USER.
	WakePipe() (r, w sys.FD, e syscall.Errno)
	// FileKind returns the kind of fd, as sys.FileKind does.
	FileKind(fd sys.FD) string
}
