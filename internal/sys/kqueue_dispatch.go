//go:build darwin || freebsd || openbsd || dragonfly

package sys

import "golang.org/x/sys/unix"

// EV_DISPATCH disables a knote once its event has been reported; EV_RECEIPT has each
// change answered (kqueue(2)).
const (
	EV_DISPATCH = unix.EV_DISPATCH
	EV_RECEIPT  = unix.EV_RECEIPT
)

// SilentRequeue reports whether a level-triggered event is put back without waking the
// waiters that sleep.
const SilentRequeue = false
