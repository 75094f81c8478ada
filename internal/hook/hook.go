// Package hook gives tests and the native drivers access to internals of the root package
// and package sock. Its variables are nil until those packages are initialised.
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

	// The rest is set by package sock. internal/driver has typed wrappers and their
	// documentation.

	PrepareTCP   func(stream any, to netip.AddrPort) error
	PrepareUnix  func(stream any, name string) error
	ConnectTo    func(stream any) *sys.Sockaddr
	BeginConnect func(stream any) error
	Delays       func(listener any) bool
	Queued       func(stream any) (int, bool)
	ConnectEnded func(stream any, e syscall.Errno) error
)
