//go:build darwin || freebsd || openbsd || dragonfly

package sys

import "golang.org/x/sys/unix"

// EV_DISPATCH disables a knote after its event has been reported; EV_RECEIPT makes each
// change return a result (kqueue(2)).
const (
	EV_DISPATCH = unix.EV_DISPATCH
	EV_RECEIPT  = unix.EV_RECEIPT
)

// SilentRequeue reports whether the kernel requeues a level-triggered event without waking
// sleeping waiters.
const SilentRequeue = false
