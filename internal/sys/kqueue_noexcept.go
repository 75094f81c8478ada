//go:build freebsd || netbsd

package sys

// EVFILT_EXCEPT is missing: FreeBSD and NetBSD tell urgent data to poll(2) only.
const (
	HasEvfiltExcept = false
	EVFILT_EXCEPT   = 1001
	NOTE_OOB        = 0
)
