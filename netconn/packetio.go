package netconn

import (
	"math"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// The calls of a PacketConn that receive and send.

// ReadFrom waits for a datagram, and copies it to b; what does not fit is lost. The address is a *net.UDPAddr. The error is
// os.ErrDeadlineExceeded or net.ErrClosed. Datagrams that arrive while no call waits are kept, up to 256 KiB
// of them; more are dropped, as in the kernel's receive buffer. Dropped counts them.
func (p *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := p.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort is ReadFrom without an allocation.
func (p *PacketConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := p.read(b)
	if err != nil {
		err = &net.OpError{Op: "read", Net: "udp", Source: p.local, Err: err}
	}
	return n, from, err
}

func (p *PacketConn) read(b []byte) (int, netip.AddrPort, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.r.awaitTurn(&p.closed)
	if b == nil {
		b = []byte{} // into must not be nil
	}
	switch {
	case p.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	case p.r.expired:
		return 0, netip.AddrPort{}, errDeadline
	case p.first < len(p.queue):
		n, from := p.nextLocked(b)
		return n, from, nil
	case p.waitsOnLoopLocked():
		return 0, netip.AddrPort{}, loop.ErrOnLoop
	}
	p.into, p.r.busy = b, true
	for p.into != nil && !p.closed && !p.r.expired {
		p.r.cond.Wait()
	}
	filled := p.into == nil
	p.into = nil
	p.r.leave()
	switch {
	case filled:
		return p.got, p.from, nil
	case p.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
	return 0, netip.AddrPort{}, errDeadline
}

// waitsOnLoopLocked reports whether the caller is on a loop, as for Conn: here the loops of the sockets are checked each
// time. p.mu must be held.
func (p *PacketConn) waitsOnLoopLocked() bool {
	if !p.hasWaited && p.g.OnLoop() || slices.ContainsFunc(p.loops, (*loop.Loop).OnLoop) {
		return true
	}
	p.hasWaited = true
	return false
}

// nextLocked takes the oldest datagram. p.mu must be held.
func (p *PacketConn) nextLocked(b []byte) (int, netip.AddrPort) {
	d := p.queue[p.first]
	p.queue[p.first] = datagram{}
	if p.first++; 2*p.first >= len(p.queue) { // so each datagram is moved once, on average
		n := copy(p.queue, p.queue[p.first:])
		clear(p.queue[n:])
		p.queue, p.first = p.queue[:n], 0
	}
	p.queuedBytes -= d.n + datagramOverheadBytes
	n := copy(b, d.block[:d.n])
	blocks.Put(d.block)
	return n, d.from
}

// Dropped returns how many datagrams were dropped because too many were queued for ReadFrom.
func (p *PacketConn) Dropped() uint64 { return p.dropped.Load() }

// WriteTo sends b to addr, a *net.UDPAddr, as one datagram. It waits while the socket's send buffer is full.
// Datagrams leave in the order of the calls. The error is os.ErrDeadlineExceeded, net.ErrClosed, or the
// system's (EMSGSIZE, ENETUNREACH; EINVAL if the port is out of range). As in package net, addr may be a broadcast address, and
// without an IP it is this host.
func (p *PacketConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	a, ok := addr.(*net.UDPAddr)
	if !ok || a == nil || a.Port < 0 || a.Port > math.MaxUint16 { // AddrPort would take the port modulo 65536
		return 0, p.writeError(addr, syscall.EINVAL)
	}
	to := a.AddrPort()
	if len(a.IP) == 0 {
		to = netip.AddrPortFrom(p.unspecified(), to.Port())
	}
	n, err := p.write(b, to)
	if err != nil {
		err = p.writeError(addr, err)
	}
	return n, err
}

// WriteToUDPAddrPort is WriteTo without an allocation.
func (p *PacketConn) WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error) {
	n, err := p.write(b, addr)
	if err != nil {
		err = p.writeError(net.UDPAddrFromAddrPort(addr), err)
	}
	return n, err
}

// unspecified returns the unspecified address of the socket's family.
func (p *PacketConn) unspecified() netip.Addr {
	if p.sender.LocalAddr().Addr().Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func (p *PacketConn) writeError(addr net.Addr, err error) error {
	return &net.OpError{Op: "write", Net: "udp", Source: p.local, Addr: addr, Err: err}
}

func (p *PacketConn) write(b []byte, to netip.AddrPort) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.w.awaitTurn(&p.closed)
	p.w.busy = true
	defer p.w.leave()
	for {
		switch {
		case p.closed:
			return 0, net.ErrClosed
		case p.w.expired:
			return 0, errDeadline
		}
		p.writable = false
		p.mu.Unlock()
		n, err = p.sender.WriteTo(b, to)
		p.mu.Lock()
		if err != sock.ErrWouldBlock {
			break
		}
		if p.g.OnLoop() {
			return 0, loop.ErrOnLoop
		}
		for !p.writable && !p.closed && !p.w.expired {
			p.w.cond.Wait()
		}
	}
	switch {
	case err == nil:
		return n, nil
	case p.closed:
		return n, net.ErrClosed
	}
	return n, causeOf(err)
}
