package conformance

import (
	"net/netip"
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/sock"
)

// A Machine is what the suite runs on. All sockets of the suite are made with the
// options of harness.on.
type Machine struct {
	// Open opens the driver under test.
	Open func(t *testing.T, c driver.Config) driver.Driver
	// Network is the simulated network that the sockets are on; nil: they are the operating system's.
	Network sock.Network
	// LimitDescriptors is testkit.LimitDescriptors.
	LimitDescriptors func(t testing.TB, free int) (restore func())
	// SilentHost is testkit.SilentHost.
	SilentHost func(t testing.TB) netip.Addr
}

// needsSystem skips a test that cannot run on a simulated network.
func (h *harness) needsSystem(why string) {
	h.Helper()
	if h.machine.Network != nil {
		h.Skip("skipped on a simulated network: ", why)
	}
}

// on returns the options of a socket on the machine.
func (h *harness) on(options []sock.Option) []sock.Option {
	if h.machine.Network == nil {
		return options
	}
	return append(options[:len(options):len(options)], sock.OnNetwork(h.machine.Network))
}

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

func (h *harness) listenTCP(options ...sock.Option) *sock.TCPListener {
	h.Helper()
	l, err := sock.ListenTCP(loopback, h.on(options)...)
	h.must(err)
	return l
}

func (h *harness) listenUnix(path string, options ...sock.Option) *sock.UnixListener {
	h.Helper()
	l, err := sock.ListenUnix(path, h.on(options)...)
	h.must(err)
	return l
}

func (h *harness) listenUDP(at netip.AddrPort, options ...sock.Option) (*sock.UDPSocket, error) {
	return sock.ListenUDP(at, h.on(options)...)
}
