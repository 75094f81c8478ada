//go:build darwin || solaris

package sys

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// PollNanos reports whether Poll counts nanoseconds. macOS has poll(2) alone, and
// golang.org/x/sys knows no ppoll of Solaris: timeouts are rounded up to milliseconds.
const PollNanos = false

func pollCall(_ bool, fds []PollFD, timeout time.Duration) (int, syscall.Errno) {
	ms := -1
	if timeout >= 0 {
		ms = int(min((int64(timeout)+999_999)/1_000_000, 1<<31-1))
	}
	n, err := unix.Poll(fds, ms)
	return max(n, 0), errno(err)
}
