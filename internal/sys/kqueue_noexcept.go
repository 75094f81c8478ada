//go:build freebsd || netbsd

package sys

// EVFILT_EXCEPT is missing: FreeBSD and NetBSD report urgent data only by poll(2).
const (
	HasEvfiltExcept = false
	EVFILT_EXCEPT   = 1001
	NOTE_OOB        = 0
)
