package simnet

import (
	"net"
	"os"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
)

// end is what the blocking ends, Conn, Listener and PacketConn, have in common: they own a descriptor.
// Their methods may be called from any goroutine. A call that may wait first waits until the scheduler
// lets it run, as a loop does: so the order of such calls is the seed's, too.
type end struct {
	s       *Socket
	fd      sys.FD
	network string
	users   int // calls that use fd; the last one closes it, after Close
	closed  bool
	reads   side
	writes  side
	others  side // Close, and what else may be observed by the peer
}

// side is one direction of calls: a channel that serializes them, and their deadline.
type side struct {
	turn     chan struct{} // capacity 1: has a value while a call is in progress
	actor    *Actor
	deadline time.Time
}

func (e *end) initLocked(s *Socket, fd sys.FD, network string) {
	e.s, e.fd, e.network = s, fd, network
	for _, d := range []*side{&e.reads, &e.writes, &e.others} {
		d.turn = make(chan struct{}, 1)
		d.actor = s.host.newActorLocked()
	}
}

// call calls f with the lock held, again each time that the socket has changed, until it does not
// return EAGAIN. op is for errors.
func (e *end) call(op string, d *side, f func() syscall.Errno) error {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	n := e.s.host.n
	d.actor.Wait(0)
	n.mu.Lock()
	defer n.mu.Unlock()
	e.s.waiters = append(e.s.waiters, d.actor)
	defer func() {
		e.s.forgetWaiterLocked(d.actor)
		n.doneLocked(d.actor)
	}()
	for {
		timeout, expired := n.timeoutLocked(d.deadline)
		switch {
		case e.closed || n.closed:
			return e.opError(op, net.ErrClosed)
		case e.s.lost:
			return e.opError(op, sys.CallError(op, syscall.ENETDOWN))
		case expired:
			return e.opError(op, os.ErrDeadlineExceeded)
		}
		switch errno := f(); errno {
		case 0:
			return nil
		case syscall.EAGAIN:
			d.actor.waitAndUnlock(timeout)
			n.mu.Lock()
		default:
			return e.opError(op, sys.CallError(op, errno))
		}
	}
}

// takeTurn waits until the scheduler lets a call run that does not wait for the socket.
func (e *end) takeTurn() {
	d := &e.others
	d.turn <- struct{}{}
	d.actor.Wait(0)
	d.actor.Done()
	<-d.turn
}

// timeoutLocked returns how long to wait for a deadline, -1 for none.
func (n *Network) timeoutLocked(deadline time.Time) (timeout time.Duration, expired bool) {
	if deadline.IsZero() {
		return -1, false
	}
	at, now := deadline.Sub(n.began), time.Duration(n.nowLocked())
	if at <= now {
		return 0, true
	}
	return at - now, false
}

func (s *Socket) forgetWaiterLocked(a *Actor) {
	for i, w := range s.waiters {
		if w == a {
			s.waiters = append(s.waiters[:i], s.waiters[i+1:]...)
			return
		}
	}
}

func (e *end) opError(op string, err error) error {
	source, addr := e.s.netAddr(e.network, e.s.local), net.Addr(nil)
	_, errno := e.s.protocol.peerLocked()
	if peer := e.s.remoteLocked(); errno == 0 || peer.ip.IsValid() { // also after a reset
		addr = e.s.netAddr(e.network, peer)
	}
	return &net.OpError{Op: op, Net: e.network, Source: source, Addr: addr, Err: err}
}

// netAddr returns an address as package net has it.
func (s *Socket) netAddr(network string, a address) net.Addr {
	return netAddrOf(s.family, s.typ, network, a)
}

func netAddrOf(family, typ int, network string, a address) net.Addr {
	switch {
	case family == sys.AF_UNIX:
		return &net.UnixAddr{Name: a.name, Net: network}
	case typ == sys.SOCK_DGRAM:
		return net.UDPAddrFromAddrPort(a.ip)
	}
	return net.TCPAddrFromAddrPort(a.ip)
}

// Close closes the descriptor. Calls in progress return an error, net.ErrClosed.
func (e *end) Close() error {
	e.takeTurn()
	n := e.s.host.n
	n.mu.Lock()
	if e.closed {
		defer n.mu.Unlock()
		return e.opError("close", net.ErrClosed)
	}
	e.closed = true
	for _, a := range e.s.waiters {
		n.wakeLocked(a)
	}
	last := e.users == 0
	n.mu.Unlock()
	if last {
		e.s.Close(e.fd)
	}
	return nil
}

// use calls f with the descriptor, which stays open until f returns.
func (e *end) use(op string, f func(fd sys.FD) error) error {
	n := e.s.host.n
	n.mu.Lock()
	if e.closed {
		defer n.mu.Unlock()
		return e.opError(op, net.ErrClosed)
	}
	e.users++
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		e.users--
		last := e.closed && e.users == 0
		n.mu.Unlock()
		if last {
			e.s.Close(e.fd)
		}
	}()
	return f(e.fd)
}

// LocalAddr returns the local address.
func (e *end) LocalAddr() net.Addr {
	e.s.host.n.mu.Lock()
	defer e.s.host.n.mu.Unlock()
	return e.s.netAddr(e.network, e.s.local)
}

// SetDeadline implements net.Conn.
func (e *end) SetDeadline(t time.Time) error { return e.setDeadline(t, &e.reads, &e.writes) }

// SetReadDeadline implements net.Conn.
func (e *end) SetReadDeadline(t time.Time) error { return e.setDeadline(t, &e.reads) }

// SetWriteDeadline implements net.Conn.
func (e *end) SetWriteDeadline(t time.Time) error { return e.setDeadline(t, &e.writes) }

func (e *end) setDeadline(t time.Time, sides ...*side) error {
	n := e.s.host.n
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.closed {
		return e.opError("set deadline", net.ErrClosed)
	}
	for _, d := range sides {
		d.deadline = t
	}
	for _, a := range e.s.waiters {
		n.wakeLocked(a)
	}
	return nil
}

// SyscallConn returns raw access to the descriptor, which is virtual: only package sock can use it.
func (e *end) SyscallConn() (syscall.RawConn, error) { return rawConn{e}, nil }

type rawConn struct{ e *end }

func (r rawConn) Control(f func(fd uintptr)) error {
	return r.e.use("control", func(fd sys.FD) error {
		f(uintptr(fd))
		return nil
	})
}

func (r rawConn) Read(f func(fd uintptr) bool) error { return r.wait("raw-read", &r.e.reads, f) }

func (r rawConn) Write(f func(fd uintptr) bool) error { return r.wait("raw-write", &r.e.writes, f) }

func (r rawConn) wait(op string, d *side, f func(fd uintptr) bool) error {
	return r.e.use(op, func(fd sys.FD) error {
		return r.e.call(op, d, func() syscall.Errno {
			n := r.e.s.host.n
			n.mu.Unlock()
			defer n.mu.Lock()
			if f(uintptr(fd)) {
				return 0
			}
			return syscall.EAGAIN
		})
	})
}

// set calls f, a call that does not wait for the socket.
func (e *end) set(op string, f func() syscall.Errno) error {
	e.takeTurn()
	return e.use(op, func(sys.FD) error {
		if errno := f(); errno != 0 {
			e.s.host.n.mu.Lock()
			defer e.s.host.n.mu.Unlock()
			return e.opError(op, sys.CallError(op, errno))
		}
		return nil
	})
}

func (e *end) setInt(level, option, value int) error {
	return e.set("set", func() syscall.Errno { return e.s.SetInt(level, option, value) })
}

// SetReadBuffer sets SO_RCVBUF.
func (e *end) SetReadBuffer(bytes int) error { return e.setInt(sys.SOL_SOCKET, sys.SO_RCVBUF, bytes) }

// SetWriteBuffer sets SO_SNDBUF.
func (e *end) SetWriteBuffer(bytes int) error { return e.setInt(sys.SOL_SOCKET, sys.SO_SNDBUF, bytes) }
