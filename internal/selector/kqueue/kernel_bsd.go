//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package kqueue

import (
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// Open returns an empty selector on this machine's kernel.
func Open(config selector.Config) (*Selector, error) { return OpenOn(System, config) }

// Note describes the mechanism that is used, as text for people.
func Note() string {
	if sys.HasEvfiltUser {
		return "kqueue(2), woken by EVFILT_USER"
	}
	return "kqueue(2), woken by a pipe"
}

// System is this machine's kernel.
var System Kernel = &system{}

type system struct{ buffers sync.Pool }

// buffer holds changes and events in the kernel's layout.
type buffer struct {
	changes [maxChanges]sys.Kevent
	events  [maxBatch]sys.Kevent
}

func (k *system) Traits() Traits {
	return Traits{
		User:          sys.HasEvfiltUser,
		Except:        sys.HasEvfiltExcept,
		SilentRequeue: sys.SilentRequeue,
		UdataBits:     8 * uint(unsafe.Sizeof(uintptr(0))),
	}
}

func (k *system) Kqueue() (sys.FD, syscall.Errno) { return sys.Kqueue() }

func (k *system) Close(fd sys.FD) syscall.Errno { return sys.Close(fd) }

func (k *system) FileKind(fd sys.FD) string { return sys.FileKind(fd) }

func (k *system) WakePipe() (r, w sys.FD, e syscall.Errno) {
	if r, w, e = sys.Pipe(); e != 0 {
		return r, w, e
	}
	if _, e = sys.Write(w, []byte{0}); e != 0 {
		sys.Close(r)
		sys.Close(w)
	}
	return r, w, e
}

func (k *system) Kevent(kq sys.FD, changes, events []Kevent, timeout *Timespec) (int, syscall.Errno) {
	b, _ := k.buffers.Get().(*buffer)
	if b == nil {
		b = new(buffer)
	}
	defer k.buffers.Put(b)
	for i := range changes {
		c := &changes[i]
		b.changes[i].Set(c.Ident, filterNumber(c.Filter), uint32(c.Flags), noteNumber(c), c.Data, c.Udata)
	}
	var d *time.Duration
	if timeout != nil {
		t := time.Duration(timeout.Sec)*time.Second + time.Duration(timeout.Nsec)
		d = &t
	}
	n, e := sys.KeventCall(kq, b.changes[:len(changes)], b.events[:len(events)], d)
	for i := range n {
		r := &b.events[i]
		events[i] = Kevent{r.Ident(), filterName(r.Filter()), uint16(r.Flags()), r.Fflags(), r.Data(), r.Udata()}
	}
	return n, e
}

func filterNumber(f Filter) int {
	switch f {
	case FilterRead:
		return sys.EVFILT_READ
	case FilterWrite:
		return sys.EVFILT_WRITE
	case FilterExcept:
		return sys.EVFILT_EXCEPT
	}
	return sys.EVFILT_USER
}

func filterName(n int) Filter {
	switch n {
	case sys.EVFILT_READ:
		return FilterRead
	case sys.EVFILT_WRITE:
		return FilterWrite
	case sys.EVFILT_EXCEPT:
		return FilterExcept
	}
	return FilterUser
}

func noteNumber(c *Kevent) uint32 {
	switch c.Fflags {
	case NoteLowat:
		return sys.NOTE_LOWAT
	case NoteOOB:
		return sys.NOTE_OOB
	case NoteTrigger:
		return sys.NOTE_TRIGGER
	}
	return 0
}
