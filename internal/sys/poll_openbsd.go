package sys

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// PollNanos reports whether Poll's timeouts have nanoseconds.
const PollNanos = true

func pollCall(_ bool, fds []PollFD, timeout time.Duration) (int, syscall.Errno) {
	var ts unix.Timespec
	var t *unix.Timespec
	if timeout >= 0 {
		ts = unix.NsecToTimespec(int64(timeout))
		t = &ts
	}
	n, err := unix.Ppoll(fds, t, nil)
	return max(n, 0), errno(err)
}
