package sys

import (
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epoll_ctl(2) operations and event bits.
const (
	EPOLL_CTL_ADD = unix.EPOLL_CTL_ADD
	EPOLL_CTL_MOD = unix.EPOLL_CTL_MOD
	EPOLL_CTL_DEL = unix.EPOLL_CTL_DEL

	EPOLLIN      = unix.EPOLLIN
	EPOLLOUT     = unix.EPOLLOUT
	EPOLLPRI     = unix.EPOLLPRI
	EPOLLERR     = unix.EPOLLERR
	EPOLLHUP     = unix.EPOLLHUP
	EPOLLRDHUP   = unix.EPOLLRDHUP
	EPOLLET      = 1 << 31
	EPOLLONESHOT = unix.EPOLLONESHOT
)

// EpollEvent is struct epoll_event. Its 64 bits of user data are split in two
// words because the structure is packed on amd64 only.
type EpollEvent struct{ raw unix.EpollEvent }

// MakeEpollEvent returns an event that carries data.
func MakeEpollEvent(events uint32, data uint64) EpollEvent {
	e := EpollEvent{unix.EpollEvent{Events: events}}
	*(*[2]uint32)(unsafe.Pointer(&e.raw.Fd)) = [2]uint32{uint32(data), uint32(data >> 32)}
	return e
}

// Events returns the event's bits.
func (e *EpollEvent) Events() uint32 { return e.raw.Events }

// Data returns the user data given to MakeEpollEvent.
func (e *EpollEvent) Data() uint64 {
	w := *(*[2]uint32)(unsafe.Pointer(&e.raw.Fd))
	return uint64(w[0]) | uint64(w[1])<<32
}

// EpollCreate returns a close-on-exec epoll descriptor.
func EpollCreate() (FD, syscall.Errno) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return InvalidFD, errno(err)
	}
	return fd, 0
}

// EpollCtl changes what epfd watches.
func EpollCtl(epfd, op int, fd FD, ev *EpollEvent) syscall.Errno {
	_, _, e := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epfd), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(ev)), 0, 0)
	return e
}

// EpollPoll returns the events that are ready now, without blocking.
func EpollPoll(epfd FD, events []EpollEvent) (int, syscall.Errno) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
		if e != unix.EINTR {
			return resultOf(n, e)
		}
	}
}

// EpollWait blocks the calling thread until there is an event or the timeout has passed;
// a negative timeout means none. It returns 0 and EINTR if a signal interrupts it.
// Without epoll_pwait2 the timeout is rounded up to milliseconds.
func EpollWait(epfd FD, events []EpollEvent, timeout time.Duration) (int, syscall.Errno) {
	p := uintptr(unsafe.Pointer(unsafe.SliceData(events)))
	if timeout >= 0 && HasEpollPwait2() {
		ts := unix.NsecToTimespec(int64(timeout))
		n, _, e := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(epfd), p, uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
		return resultOf(n, e)
	}
	ms := int32(-1)
	if timeout >= 0 {
		ms = int32(min((int64(timeout)+999_999)/1_000_000, 1<<31-1))
	}
	n, _, e := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), p, uintptr(len(events)), uintptr(ms), 0, 0)
	return resultOf(n, e)
}

// HasEpollPwait2 reports whether the kernel has epoll_pwait2 (Linux 5.11) and lets this
// process call it: a seccomp filter may refuse calls that it does not know. On 32-bit
// systems its timespec differs from the one of golang.org/x/sys, so there it returns false.
var HasEpollPwait2 = sync.OnceValue(func() bool {
	if unsafe.Sizeof(uintptr(0)) < 8 {
		return false
	}
	epfd, e := EpollCreate()
	if e != 0 {
		return false
	}
	defer osClose(epfd)
	var ev [1]EpollEvent
	var zero unix.Timespec
	_, _, e = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(epfd), uintptr(unsafe.Pointer(&ev[0])), 1, uintptr(unsafe.Pointer(&zero)), 0, 0)
	return e == 0
})

// Eventfd returns a non-blocking, close-on-exec eventfd with count zero.
func Eventfd() (FD, syscall.Errno) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return InvalidFD, errno(err)
	}
	return fd, 0
}

// EventfdAdd adds one to the count. EAGAIN means that the count is at its maximum; then the
// descriptor is readable anyway, so EventfdAdd returns 0.
func EventfdAdd(fd FD) syscall.Errno {
	one := [8]byte{1}
	if bigEndian {
		one = [8]byte{7: 1}
	}
	_, e := Write(fd, one[:])
	if WouldBlock(e) {
		return 0
	}
	return e
}

var bigEndian = func() bool {
	x := uint16(1)
	return *(*byte)(unsafe.Pointer(&x)) == 0
}()
