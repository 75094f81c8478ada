//go:build darwin || freebsd || dragonfly

package sys

import "golang.org/x/sys/unix"

// EVFILT_USER is an event that the program triggers itself; x/sys has it for neither NetBSD
// nor OpenBSD.
const (
	HasEvfiltUser = true
	EVFILT_USER   = unix.EVFILT_USER
	NOTE_TRIGGER  = unix.NOTE_TRIGGER
)
