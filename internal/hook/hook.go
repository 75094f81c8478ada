// Package hook lets tests of other packages of this module reach into the root
// package, and a driver make a Poll over a selector that shares its port. It is empty
// until the root package and package sock have been initialised.
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
	// ConnectFailed says of a *sock.Stream that connecting has failed, if it is not known
	// how it has ended: its ConnectError tells from then on. It is of package sock.
	ConnectFailed func(stream any, e syscall.Errno)
)
