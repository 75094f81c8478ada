// Package hook gives the native drivers access to internals of package sock. Its variables
// are nil until that package is initialised. internal/driver has typed wrappers and their
// documentation.
package hook

import (
	"net/netip"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

var (
	PrepareTCP   func(stream any, to netip.AddrPort) error
	PrepareUnix  func(stream any, name string) error
	ConnectTo    func(stream any) *sys.Sockaddr
	BeginConnect func(stream any) error
	Delays       func(listener any) bool
	Queued       func(stream any) (int, bool)
	ConnectEnded func(stream any, e syscall.Errno) error
)
