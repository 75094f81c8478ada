//go:build darwin || openbsd || dragonfly

package sys

import "golang.org/x/sys/unix"

// EVFILT_EXCEPT with NOTE_OOB reports urgent data (kqueue(2)).
const (
	HasEvfiltExcept = true
	EVFILT_EXCEPT   = unix.EVFILT_EXCEPT
	NOTE_OOB        = unix.NOTE_OOB
)
