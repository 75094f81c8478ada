//go:build darwin || solaris

package sys

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// PollNanos reports whether Poll's timeouts have nanoseconds. macOS has only poll(2), and
// golang.org/x/sys has no ppoll for Solaris: timeouts are rounded up to milliseconds.
const PollNanos = false

func pollCall(_ bool, fds []PollFD, timeout time.Duration) (int, syscall.Errno) {
	ms := -1
	if timeout >= 0 {
		ms = int(min((int64(timeout)+999_999)/1_000_000, 1<<31-1))
	}
	n, err := unix.Poll(fds, ms)
	return max(n, 0), errno(err)
}
