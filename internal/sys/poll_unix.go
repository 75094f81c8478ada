//go:build unix

package sys

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// PollFD is struct pollfd: what to look for on a descriptor, and what there was.
type PollFD = unix.PollFd

// Events of poll(2). POLLERR, POLLHUP and POLLNVAL are told without being asked
// for.
const (
	POLLIN   = unix.POLLIN
	POLLPRI  = unix.POLLPRI
	POLLOUT  = unix.POLLOUT
	POLLERR  = unix.POLLERR
	POLLHUP  = unix.POLLHUP
	POLLNVAL = unix.POLLNVAL
)

// maxRawPoll is how many descriptors a raw call looks at: about 20 µs.
const maxRawPoll = 256

// Poll is poll(2), with what the system has for finer timeouts. It returns of how
// many descriptors there is something to tell. It sleeps for timeout at the most;
// negative: forever; zero: not at all. EINTR is returned when a signal has ended
// the sleep. Timeouts of more than 24 days may be over earlier.
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
