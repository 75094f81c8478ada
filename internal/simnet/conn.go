package simnet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/stream"
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
}

// side is one direction of calls: a channel that serializes them, and their deadline.
type side struct {
	turn     chan struct{} // capacity 1: has a value while a call is in progress
	actor    *Actor
	deadline time.Time
}

func (e *end) initLocked(s *Socket, fd sys.FD, network string) {
	e.s, e.fd, e.network = s, fd, network
	for _, d := range []*side{&e.reads, &e.writes} {
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

// timeoutLocked returns how long to wait for a deadline, -1 for none.
func (n *Network) timeoutLocked(deadline time.Time) (timeout time.Duration, expired bool) {
	if deadline.IsZero() {
		return -1, false
	}
	timeout = deadline.Sub(n.began) - time.Duration(n.nowLocked())
	return timeout, timeout <= 0
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
	if peer, errno := e.s.protocol.peerLocked(); errno == 0 {
		addr = e.s.netAddr(e.network, peer)
	}
	return &net.OpError{Op: op, Net: e.network, Source: source, Addr: addr, Err: err}
}

// netAddr returns an address as package net has it.
func (s *Socket) netAddr(network string, a address) net.Addr {
	switch {
	case s.family == sys.AF_UNIX:
		return &net.UnixAddr{Name: a.name, Net: network}
	case s.typ == sys.SOCK_DGRAM:
		return net.UDPAddrFromAddrPort(a.ip)
	}
	return net.TCPAddrFromAddrPort(a.ip)
}

// Close closes the descriptor. Calls in progress return an error, net.ErrClosed.
func (e *end) Close() error {
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

// A Conn is one end of a connection, for goroutines.
type Conn struct{ end }

var _ net.Conn = (*Conn)(nil)

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (n int, err error) {
	err = c.call("read", &c.reads, func() (e syscall.Errno) {
		n, e = c.s.protocol.recvLocked([][]byte{b}, 0)
		return e
	})
	if err == nil && n == 0 && len(b) > 0 && c.s.typ == sys.SOCK_STREAM {
		return 0, io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (n int, err error) {
	err = c.call("write", &c.writes, func() syscall.Errno {
		k, e := c.s.protocol.sendLocked([][]byte{b[n:]}, 0)
		n += k
		if e == 0 && n < len(b) && c.s.typ == sys.SOCK_STREAM {
			return syscall.EAGAIN
		}
		return e
	})
	return n, err
}

// RemoteAddr returns the peer's address, or nil if the connection does not exist any more.
func (c *Conn) RemoteAddr() net.Addr {
	c.s.host.n.mu.Lock()
	defer c.s.host.n.mu.Unlock()
	return c.s.netAddr(c.network, c.s.remoteLocked())
}

// CloseWrite shuts down sending: the peer gets a FIN after the bytes that were written.
func (c *Conn) CloseWrite() error {
	return c.set("close write", func() syscall.Errno { return c.s.Shutdown(sys.SHUT_WR) })
}

// CloseRead shuts down receiving.
func (c *Conn) CloseRead() error {
	return c.set("close read", func() syscall.Errno { return c.s.Shutdown(sys.SHUT_RD) })
}

func (e *end) set(op string, f func() syscall.Errno) error {
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

// SetLinger sets SO_LINGER, as net.TCPConn.SetLinger does.
func (c *Conn) SetLinger(seconds int) error {
	return c.set("set", func() syscall.Errno { return c.s.SetLinger(seconds >= 0, max(seconds, 0)) })
}

// SetNoDelay sets TCP_NODELAY.
func (c *Conn) SetNoDelay(on bool) error {
	return c.setInt(sys.IPPROTO_TCP, sys.TCP_NODELAY, toInt(on))
}

// SetKeepAlive sets SO_KEEPALIVE.
func (c *Conn) SetKeepAlive(on bool) error {
	return c.setInt(sys.SOL_SOCKET, sys.SO_KEEPALIVE, toInt(on))
}

// SetKeepAliveConfig configures keep-alive probes, as net.TCPConn.SetKeepAliveConfig does.
func (c *Conn) SetKeepAliveConfig(k net.KeepAliveConfig) error {
	return c.use("set", func(fd sys.FD) error { return stream.SetKeepAlive(fd, k) })
}

// SetReadBuffer sets SO_RCVBUF.
func (e *end) SetReadBuffer(bytes int) error { return e.setInt(sys.SOL_SOCKET, sys.SO_RCVBUF, bytes) }

// SetWriteBuffer sets SO_SNDBUF.
func (e *end) SetWriteBuffer(bytes int) error { return e.setInt(sys.SOL_SOCKET, sys.SO_SNDBUF, bytes) }

// remoteLocked returns the peer's address, also after the connection has ended.
func (s *Socket) remoteLocked() address {
	if t, ok := s.protocol.(*streamSocket); ok {
		return t.remote
	}
	a, _ := s.protocol.peerLocked()
	return a
}

// A Listener accepts connections, for goroutines.
type Listener struct{ end }

var _ net.Listener = (*Listener)(nil)

// Listen listens on an address, as net.Listen does: network is "tcp", "tcp4", "tcp6" or "unix". The
// host is a literal IP address, or empty.
func (h *Host) Listen(network, address string) (*Listener, error) {
	l := &Listener{}
	s, fd, err := h.open("listen", network, address, true)
	if err != nil {
		return nil, err
	}
	if e := s.Listen(sys.MaxBacklog); e != 0 {
		s.Close(fd)
		return nil, &net.OpError{Op: "listen", Net: network, Err: sys.CallError("listen", e)}
	}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	l.initLocked(s, fd, network)
	return l, nil
}

// Accept implements net.Listener. The result is a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	c := &Conn{}
	err := l.call("accept", &l.reads, func() syscall.Errno {
		s, fd, e := l.s.acceptLocked()
		if e == 0 {
			c.initLocked(s, fd, l.network)
		}
		return e
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.LocalAddr() }

// Dial connects to an address, as net.Dialer does: network is "tcp", "tcp4", "tcp6" or "unix". The
// host is a literal IP address.
func (h *Host) Dial(ctx context.Context, network, address string) (*Conn, error) {
	return h.DialFrom(ctx, network, "", address)
}

// DialFrom is Dial with a local address, unless local is empty.
func (h *Host) DialFrom(ctx context.Context, network, local, address string) (*Conn, error) {
	to, err := parse(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	s, fd, err := h.openFor("dial", network, local, to)
	if err != nil {
		return nil, err
	}
	c := &Conn{}
	h.n.mu.Lock()
	c.initLocked(s, fd, network)
	h.n.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { c.SetWriteDeadline(time.Unix(1, 0)) })
	started := false
	err = c.call("dial", &c.writes, func() syscall.Errno { return s.connectStepLocked(to, &started) })
	if !stop() && err == nil {
		err = &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
	}
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
			err = &net.OpError{Op: "dial", Net: network, Addr: s.netAddr(network, to), Err: ctx.Err()}
		}
		c.Close()
		return nil, err
	}
	return c, nil
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
func (h *Host) open(op, network, local string, bind bool) (*Socket, sys.FD, error) {
	a, err := parse(network, local)
	if err != nil {
		return nil, sys.InvalidFD, &net.OpError{Op: op, Net: network, Err: err}
	}
	return h.openFor(op, network, local, a)
}

// openFor makes a socket of the family of an address, and binds it to a local address, unless that is
// empty.
func (h *Host) openFor(op, network, local string, for_ address) (*Socket, sys.FD, error) {
	fail := func(err error) (*Socket, sys.FD, error) {
		return nil, sys.InvalidFD, &net.OpError{Op: op, Net: network, Err: err}
	}
	family, typ := sys.AF_UNIX, sys.SOCK_STREAM
	if for_.name == "" {
		family = sys.FamilyOf(for_.ip.Addr())
	}
	if network[0] == 'u' && network[1] == 'd' {
		typ = sys.SOCK_DGRAM
	}
	fd, e := h.Socket(family, typ)
	if e != 0 {
		return fail(sys.CallError("socket", e))
	}
	v := sys.Virtual(fd)
	s, _ := SocketOf(v)
	if local == "" && op == "dial" {
		return s, fd, nil
	}
	a, err := parse(network, local)
	if err == nil {
		sa := s.sockaddr(a)
		if network != "unix" && typ == sys.SOCK_STREAM {
			s.SetInt(sys.SOL_SOCKET, sys.SO_REUSEADDR, 1)
		}
		if e := s.Bind(sa); e != 0 {
			err = sys.CallError("bind", e)
		}
	}
	if err != nil {
		s.Close(fd)
		return fail(err)
	}
	return s, fd, nil
}

// parse returns an address of a network.
func parse(network, a string) (address, error) {
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
	last := network[len(network)-1]
	if len(a) > 0 && a[0] == ':' {
		if last == '4' {
			a = "0.0.0.0" + a
		} else {
			a = "[::]" + a
		}
	}
	ap, err := netip.ParseAddrPort(a)
	if err != nil {
		return address{}, &net.AddrError{Err: "not an IP address and a port", Addr: a}
	}
	ip := ap.Addr().Unmap()
	if last == '4' && !ip.Is4() || last == '6' && ip.Is4() {
		return address{}, &net.AddrError{Err: "not an address of network " + network, Addr: a}
	}
	return address{ip: netip.AddrPortFrom(ip, ap.Port())}, nil
}

// NetConn implements sys.VirtualSocket.
func (s *Socket) NetConn() (net.Conn, syscall.Errno) {
	fd, e := s.Dup()
	if e != 0 {
		return nil, e
	}
	network := "tcp"
	switch {
	case s.family == sys.AF_UNIX:
		network = "unix"
	case s.typ == sys.SOCK_DGRAM:
		network = "udp"
	}
	s.host.n.mu.Lock()
	defer s.host.n.mu.Unlock()
	c := &Conn{}
	c.initLocked(s, fd, network)
	return c, 0
}
