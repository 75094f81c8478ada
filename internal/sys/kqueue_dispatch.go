//go:build darwin || freebsd || openbsd || dragonfly

package sys

import "golang.org/x/sys/unix"

// EV_DISPATCH disables an event that has been told; EV_RECEIPT has each change
// answered.
const (
	HasDispatch = true
	EV_DISPATCH = unix.EV_DISPATCH
	EV_RECEIPT  = unix.EV_RECEIPT

	SilentRequeue = false
)
