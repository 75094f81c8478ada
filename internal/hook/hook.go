// Package hook lets other packages of this module reach into the root package and
// package sock: tests, and the native drivers. It is empty until those have been
// initialised.
package hook

import (
	"syscall"

	"github.com/pollux-io/pollux/internal/selector"
)

var (
	// NewPoll makes a *pollux.Poll over any selector.
	NewPoll func(backend string, s selector.Selector) any
	// Table returns the slot table of a *pollux.Poll.
	Table func(poll any) *selector.Table
	// Event returns a pollux.Event with these flags and no token.
	Event func(selector.Flags) any
	// ConnectFailed says of a *sock.Stream that connecting has failed, if it is not known
	// how it has ended: its ConnectError tells from then on. It is of package sock.
	ConnectFailed func(stream any, e syscall.Errno)
)
