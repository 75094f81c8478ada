package handle

import (
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// OpError returns err in a *net.OpError with the operation and the addresses, if the
// system still has them.
func (h *Handle) OpError(op string, err error) error {
	e := &net.OpError{Op: op, Net: h.kind.Network(), Err: err}
	if fd, ok := h.Use(); ok {
		e.Source, e.Addr = addresses(h.kind, fd)
		h.Done()
	}
	return e
}

// CallError is OpError for a system call that failed with e.
func (h *Handle) CallError(op, call string, e syscall.Errno) error {
	return h.OpError(op, sys.CallError(call, e))
}

// With calls f with the descriptor, which stays open until f returns. If h is closed, it
// returns net.ErrClosed as OpError does.
func (h *Handle) With(op string, f func(fd sys.FD) error) error {
	fd, ok := h.Use()
	if !ok {
		return h.OpError(op, net.ErrClosed)
	}
	defer h.Done()
	return f(fd)
}

func addresses(k Kind, fd sys.FD) (local, peer net.Addr) {
	switch k {
	case Foreign, PipeReader, PipeWriter:
		return nil, nil
	}
	if a, e := sys.LocalAddr(fd); e == 0 {
		local = k.NetAddr(&a)
	}
	if a, e := sys.PeerAddr(fd); e == 0 {
		peer = k.NetAddr(&a)
	}
	return local, peer
}

// NetAddr returns the address as package net has it for this kind of socket, or nil if the
// kind has no addresses.
func (k Kind) NetAddr(a *sys.Sockaddr) net.Addr {
	switch k {
	case TCPStream, TCPListener:
		return net.TCPAddrFromAddrPort(a.AddrPort())
	case UDPSocket:
		return net.UDPAddrFromAddrPort(a.AddrPort())
	case UnixStream, UnixListener, UnixDatagram:
		return &net.UnixAddr{Name: a.Unix(), Net: k.Network()}
	}
	return nil
}
