// Package hook lets other packages of this module reach into the root package and
// package sock: tests, and the native drivers. It is empty until those have been
// initialised.
package hook

import (
	"net/netip"
	"syscall"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

var (
	// NewPoll makes a *pollux.Poll over any selector.
	NewPoll func(backend string, s selector.Selector) any
	// Table returns the slot table of a *pollux.Poll.
	Table func(poll any) *selector.Table
	// Event returns a pollux.Event with these flags and no token.
	Event func(selector.Flags) any

	// The others are of package sock; internal/driver has them with types, and says what
	// they do.

	PrepareTCP   func(stream any, to netip.AddrPort) error
	PrepareUnix  func(stream any, name string) error
	ConnectTo    func(stream any) *sys.Sockaddr
	BeginConnect func(stream any) error
	Delays       func(listener any) bool
	Queued       func(stream any) (int, bool)
	ConnectEnded func(stream any, e syscall.Errno) error
)
