package looptest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/pollux-io/pollux/internal/driver/sim"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// A Host is a host of a Network, made by Network.Host. It is a sock.Network: a group runs on it with
// loop.Config.Network, and a socket of package sock is made on it with sock.OnNetwork. Its methods
// make sockets for the test itself, which block as those of package net do.
//
// Networks and addresses are those of package net, with numeric hosts and ports: "tcp", "tcp4", "tcp6",
// "udp", "udp4", "udp6" and "unix". The names of Unix sockets belong to the host: they are not paths in
// the file system, and end with their listener. Errors are *net.OpError, as those of package net.
//
// The methods may be called from any goroutine.
type Host struct {
	hosted
	n      *Network
	host   *simnet.Host
	driver *sim.Host
}

type hosted = handle.Hosted

var _ sock.Network = (*Host)(nil)

func newHost(n *Network, h *simnet.Host) *Host {
	host := &Host{n: n, host: h, driver: sim.NewHost(h, sim.Adversity(n.adversity))}
	handle.SetKernel(&host.hosted, host.driver)
	return host
}

// Network returns the network of the host.
func (h *Host) Network() *Network { return h.n }

// Addr returns the first address of the host.
func (h *Host) Addr() netip.Addr { return h.host.Addr() }

// String returns the first address of the host.
func (h *Host) String() string { return h.host.String() }

// NewGroup returns a group on this host. Network may be left out of its configuration, and what it logs
// is in the network's trace, unless Logger is set. After the test, NewGroup shuts the group down, and
// cuts off the connections that are left. If the group cannot be made, the test fails at once: like
// t.Fatal, NewGroup is for the goroutine of the test.
func (h *Host) NewGroup(config loop.Config) *loop.Group {
	h.n.t.Helper()
	if config.Network == nil {
		config.Network = h
	}
	if config.Network != sock.Network(h) {
		panic("looptest: NewGroup called with the Network of another host in its loop.Config; leave it out")
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.NewTextHandler(traceWriter{h.n}, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	}
	g, err := loop.NewGroup(config)
	if err != nil {
		h.n.t.Fatal(err)
	}
	h.n.t.Cleanup(func() { h.n.shutdown(g) })
	return g
}

// Listen is net.Listen on this host. A host that is left out of the address, as in ":80", stands for all
// addresses of the host.
func (h *Host) Listen(network, address string) (*Listener, error) {
	l, err := h.host.Listen(network, address)
	if err != nil {
		return nil, err
	}
	return &Listener{l}, nil
}

// Dial connects to an address, as net.Dial does.
func (h *Host) Dial(network, address string) (*Conn, error) {
	return h.dial(context.Background(), network, address)
}

// DialContext is Dial that returns when ctx ends. It has the signature that http.Transport and other
// clients take.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := h.dial(ctx, network, address)
	if err != nil {
		return nil, err // not a *Conn that is nil
	}
	return c, nil
}

func (h *Host) dial(ctx context.Context, network, address string) (*Conn, error) {
	c, err := h.host.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &Conn{c}, nil
}

// ListenPacket is net.ListenPacket on this host, for UDP.
func (h *Host) ListenPacket(network, address string) (*PacketConn, error) {
	p, err := h.host.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	return &PacketConn{p}, nil
}

// SetMaxDescriptors sets how many descriptors the host may have open: one more fails with EMFILE. More
// may be open already. It panics if max is negative.
func (h *Host) SetMaxDescriptors(max int) {
	if max < 0 {
		panic("looptest: SetMaxDescriptors called with a negative number")
	}
	h.host.SetMaxDescriptors(max)
}

// Descriptors returns how many descriptors are open on the host: sockets, and duplicates of them.
func (h *Host) Descriptors() int { return h.host.Descriptors() }

// A ConnectPolicy is what a host does with connections that clients ask for.
type ConnectPolicy uint8

const (
	AcceptConnects ConnectPolicy = iota // its listeners get them
	RefuseConnects                      // they fail with ECONNREFUSED
	DropConnects                        // they time out: after that of the context, or 127 s
)

// SetConnectPolicy sets what the host does with the connections that clients ask for from now on. It
// panics if p is not one of the constants.
func (h *Host) SetConnectPolicy(p ConnectPolicy) {
	if p > DropConnects {
		panic(fmt.Sprintf("looptest: SetConnectPolicy called with ConnectPolicy(%d)", p))
	}
	h.host.SetConnectPolicy(simnet.ConnectPolicy(p))
}

// Crash stops the host as a power failure does: its connections end without a FIN or a reset, so that
// its peers keep half-open ones, and what is sent to it is lost. Every call on its sockets, except
// Close, fails.
func (h *Host) Crash() { h.host.Crash() }

// Restart ends Crash. Sockets can be made again; segments of the connections from before are answered
// with a reset.
func (h *Host) Restart() { h.host.Restart() }
