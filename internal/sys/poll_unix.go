//go:build unix

package sys

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// PollFD is struct pollfd: a descriptor, the events to wait for, and the events reported.
type PollFD = unix.PollFd

// Events of poll(2). POLLERR, POLLHUP and POLLNVAL are reported without being requested.
const (
	POLLIN   = unix.POLLIN
	POLLPRI  = unix.POLLPRI
	POLLOUT  = unix.POLLOUT
	POLLERR  = unix.POLLERR
	POLLHUP  = unix.POLLHUP
	POLLNVAL = unix.POLLNVAL
)

// maxRawPoll is the maximum number of descriptors for a raw call, which takes about 20 µs.
const maxRawPoll = 256

// Poll is poll(2), or the system's variant with finer timeouts. It returns the number of
// descriptors that have events. It sleeps for at most timeout; a negative timeout means
// none, and with zero it does not sleep. It returns EINTR if a signal interrupts the sleep.
// Timeouts of more than 24 days may expire earlier.
func Poll(fds []PollFD, timeout time.Duration) (int, syscall.Errno) {
	if timeout != 0 {
		return pollCall(false, fds, timeout)
	}
	for {
		n, e := pollCall(len(fds) <= maxRawPoll, fds, 0)
		if e != unix.EINTR {
			return n, e
		}
	}
}
