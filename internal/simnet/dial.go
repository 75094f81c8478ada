package simnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
)

// Dial connects to an address, as net.Dialer does: network is "tcp", "tcp4", "tcp6" or "unix". The
// host is a literal IP address.
func (h *Host) Dial(ctx context.Context, network, address string) (*Conn, error) {
	return h.DialFrom(ctx, network, "", address)
}

// DialFrom is Dial with a local address, unless local is empty.
func (h *Host) DialFrom(ctx context.Context, network, local, address string) (*Conn, error) {
	to, err := parseAddress(network, address)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	h.n.takeTurn("dial " + h.String() + " " + network + " " + local + " " + address)
	s, fd, err := h.openFor("dial", network, to)
	if err == nil && local != "" {
		err = s.bindTo("dial", network, local, fd)
	}
	if err != nil {
		return nil, err
	}
	c := &Conn{}
	h.n.mu.Lock()
	c.initLocked(s, fd, network)
	h.n.mu.Unlock()
	// The end of the context ends the call, by its deadline.
	stop := context.AfterFunc(ctx, func() { c.SetWriteDeadline(time.Unix(1, 0)) })
	started := false
	err = c.call("dial", &c.writes, func() syscall.Errno { return s.connectStepLocked(to, &started) })
	if !stop() && (err == nil || errors.Is(err, os.ErrDeadlineExceeded)) {
		err = ctx.Err()
	}
	if err != nil {
		c.Close()
		return nil, dialingError(network, s.netAddr(network, to), err)
	}
	return c, nil
}

// dialingError returns the error of Dial, as package net has it: of the address, and of connect(2).
func dialingError(network string, to net.Addr, err error) error {
	var errno syscall.Errno
	var op *net.OpError
	switch {
	case errors.As(err, &errno):
		err = sys.CallError("connect", errno)
	case errors.As(err, &op):
		err = op.Err
	}
	return &net.OpError{Op: "dial", Net: network, Addr: to, Err: err}
}

// connectStepLocked begins to connect, and later returns EAGAIN until connecting has ended.
func (s *Socket) connectStepLocked(to address, started *bool) syscall.Errno {
	if !*started {
		*started = true
		if e := s.protocol.connectLocked(to); e != syscall.EINPROGRESS {
			return e
		}
	}
	if e := s.takeErrorLocked(); e != 0 {
		return e
	}
	if _, e := s.protocol.peerLocked(); e != 0 {
		return syscall.EAGAIN
	}
	return 0
}

// open makes a socket that is bound to an address.
func (h *Host) open(op, network, local string) (*Socket, sys.FD, error) {
	a, err := parseAddress(network, local)
	if err != nil {
		return nil, sys.InvalidFD, &net.OpError{Op: op, Net: network, Err: err}
	}
	h.n.takeTurn(op + " " + h.String() + " " + network + " " + local)
	s, fd, err := h.openFor(op, network, a)
	if err == nil {
		err = s.bindTo(op, network, local, fd)
	}
	if err != nil {
		return nil, sys.InvalidFD, err
	}
	return s, fd, nil
}

// openFor makes a socket of a network, of the family of an address.
func (h *Host) openFor(op, network string, a address) (*Socket, sys.FD, error) {
	family, typ := sys.AF_UNIX, sys.SOCK_STREAM
	if network != "unix" {
		family = sys.FamilyOf(a.ip.Addr())
	}
	if strings.HasPrefix(network, "udp") {
		typ = sys.SOCK_DGRAM
	}
	fd, e := h.Socket(family, typ)
	if e != 0 {
		return nil, fd, &net.OpError{Op: op, Net: network, Addr: netAddrOf(family, typ, network, a), Err: sys.CallError("socket", e)}
	}
	s, _ := SocketOf(sys.Virtual(fd))
	return s, fd, nil
}

// bindTo binds a new socket to an address. If that fails, it closes the socket.
func (s *Socket) bindTo(op, network, local string, fd sys.FD) error {
	var addr net.Addr // that of the error; nil if it cannot be parsed
	a, err := parseAddress(network, local)
	if err == nil {
		addr = s.netAddr(network, a)
		if s.typ == sys.SOCK_STREAM && s.family != sys.AF_UNIX {
			s.SetInt(sys.SOL_SOCKET, sys.SO_REUSEADDR, 1) // as package net does
		}
		if e := s.Bind(s.sockaddr(a)); e != 0 {
			err = sys.CallError("bind", e)
		}
	}
	if err != nil {
		s.Close(fd)
		return &net.OpError{Op: op, Net: network, Addr: addr, Err: err}
	}
	return nil
}

// parseAddress returns an address of a network. Without a host, it is the unspecified one.
func parseAddress(network, a string) (address, error) {
	switch network {
	case "unix":
		if a == "" {
			return address{}, &net.AddrError{Err: "missing address", Addr: a}
		}
		return address{name: a}, nil
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
	default:
		return address{}, net.UnknownNetworkError(network)
	}
	only4, only6 := strings.HasSuffix(network, "4"), strings.HasSuffix(network, "6")
	switch {
	case strings.HasPrefix(a, ":") && only4:
		a = "0.0.0.0" + a
	case strings.HasPrefix(a, ":"):
		a = "[::]" + a
	}
	ap, err := netip.ParseAddrPort(a)
	if err != nil {
		return address{}, &net.AddrError{Err: "not an IP address and a port; a simulated network has no names", Addr: a}
	}
	ip := ap.Addr().Unmap()
	if only4 && !ip.Is4() || only6 && ip.Is4() {
		return address{}, &net.AddrError{Err: "not an address of network " + network, Addr: a}
	}
	return address{ip: netip.AddrPortFrom(ip, ap.Port())}, nil
}
