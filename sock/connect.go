package sock

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/hook"
	"github.com/pollux-io/pollux/internal/sys"
)

// attempt is the state of connecting a stream.
type attempt struct {
	to atomic.Pointer[sys.Sockaddr] // nil once it is connected
	// outcome is 0 while connecting has not ended; then it is connected or the errno of
	// the failure, which the kernel returns only once.
	outcome atomic.Uint32
	// mu is held from taking the error off the socket until outcome has it, so that no
	// other goroutine queries the socket in between.
	mu sync.Mutex
}

func newAttempt(to *sys.Sockaddr) *attempt {
	a := &attempt{}
	a.to.Store(to)
	return a
}

const connected = ^uint32(0)

func init() {
	hook.PrepareTCP = func(stream any, to netip.AddrPort) error {
		m := connectMaker(handle.TCPStream, nil)
		a, err := m.prepareTCP(to)
		if err != nil {
			return err
		}
		return m.initStream(stream.(*Stream), newAttempt(a))
	}
	hook.PrepareUnix = func(stream any, name string) error {
		m := connectMaker(handle.UnixStream, nil)
		a, err := m.prepareUnix(name)
		if err != nil {
			return err
		}
		return m.initStream(stream.(*Stream), newAttempt(a))
	}
	hook.Delays = func(listener any) bool {
		l, ok := listener.(*TCPListener)
		return ok && l.nagle
	}
	hook.Queued = func(stream any) (n int, ok bool) {
		s := stream.(*Stream)
		if fd, open := s.h.Use(); open {
			n, ok = sys.Queued(fd)
			s.h.Done()
		}
		return n, ok
	}
	hook.ConnectTo = func(stream any) *sys.Sockaddr { return stream.(*Stream).attempt.to.Load() }
	hook.BeginConnect = func(stream any) error { return stream.(*Stream).beginConnect() }
	hook.ConnectEnded = func(stream any, e syscall.Errno) error {
		s := stream.(*Stream)
		if fd, ok := s.h.Use(); ok {
			s.attempt.record(fd, e)
			s.h.Done()
		}
		return s.ConnectError()
	}
}

// initStream makes s own the socket. s must be new.
func (m *maker) initStream(s *Stream, a *attempt) error {
	if !s.h.IsNew() {
		return m.fail(errNotNew)
	}
	s.attempt = a
	s.h.Init(m.fd, m.kind)
	return nil
}

// beginConnect starts connecting a prepared stream.
func (s *Stream) beginConnect() error {
	fd, ok := s.h.Use()
	if !ok {
		return s.opError("connect", net.ErrClosed)
	}
	defer s.h.Done()
	e := syscall.Errno(0)
	if s.h.Shared() {
		e = sys.SetNonblock(fd) // a duplicate may have been switched to blocking
	}
	if e == 0 {
		e = sys.Connect(fd, s.attempt.to.Load())
	}
	if e == 0 || sys.InProgress(e) {
		return nil
	}
	s.attempt.record(fd, e)
	return s.ConnectError()
}

// record records the outcome, unless it is already known: connected if e is zero, but
// ECONNREFUSED if the socket is connected to itself.
func (a *attempt) record(fd sys.FD, e syscall.Errno) {
	if e == 0 && a.outcome.Load() == 0 && connectedToItself(fd, a.to.Load()) {
		e = syscall.ECONNREFUSED
		sys.SetLinger(fd, true, 0) // so that Close frees the port immediately, for its server
	}
	outcome := uint32(e)
	if e == 0 {
		outcome = connected
	}
	if a.outcome.CompareAndSwap(0, outcome) && e == 0 {
		a.to.Store(nil)
	}
}

// connectedToItself reports whether fd, a socket that connects to the address to, is a TCP
// socket that is its own peer. If a socket connects to a port of this host on which no
// socket listens, the system may choose that very port as its local port; then the
// connection opens simultaneously from both ends, which are the same socket (RFC 9293, 3.5).
func connectedToItself(fd sys.FD, to *sys.Sockaddr) bool {
	if to == nil || to.Family() == sys.AF_UNIX {
		return false
	}
	local, e := sys.LocalAddr(fd)
	if e != 0 || local.AddrPort().Port() != to.AddrPort().Port() { // saves a call
		return false
	}
	peer, e := sys.PeerAddr(fd) // not to, which may be 0.0.0.0
	return e == 0 && local.AddrPort() == peer.AddrPort()
}

// query returns the outcome, 0 if connecting has not ended. It asks getpeername, which
// fails as long as there is no peer, for success, and SO_ERROR for failure. Writable alone,
// or the lack of an error, would mistake a socket that has failed before, or that is still
// connecting, for a connected one. And an error alone need not be about connecting:
// SO_ERROR also returns errors of a connected stream.
//
// e is the errno of a failed transfer, 0 if there was none. Most of its values come from
// SO_ERROR, which the transfer has cleared.
func (a *attempt) query(fd sys.FD, e syscall.Errno) (outcome uint32) {
	if outcome = a.outcome.Load(); outcome != 0 {
		return outcome
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.outcome.Load() != 0 {
		return a.outcome.Load()
	}
	_, noPeer := sys.PeerAddr(fd)
	if noPeer == 0 {
		a.record(fd, 0)
		return a.outcome.Load()
	}
	switch e {
	case 0, syscall.ENOTCONN, syscall.EINVAL: // EINVAL: there is no urgent data
		e = sys.SocketError(fd)
	case syscall.EPIPE: // also if another call has taken the error
		if pending := sys.SocketError(fd); pending != 0 {
			e = pending
		}
	}
	if e != 0 {
		a.record(fd, e)
	}
	return a.outcome.Load()
}

// err returns the error of connecting, or nil if it has not failed.
func (a *attempt) err(kind handle.Kind) error {
	switch e := a.outcome.Load(); e {
	case 0, connected:
		return nil
	default:
		to := a.to.Load()
		return &net.OpError{Op: "connect", Net: kind.Network(), Addr: netAddr(kind, to), Err: addressError("connect", syscall.Errno(e), to)}
	}
}

func (a *attempt) connectError(d *Descriptor) error {
	fd, ok := d.h.Use()
	if !ok {
		return d.opError("connect", net.ErrClosed)
	}
	defer d.h.Done()
	if a.query(fd, 0) == 0 {
		d.h.Rearm(writable)
		return ErrWouldBlock
	}
	return a.err(d.h.Kind())
}

func localAddr(d *Descriptor) (sys.Sockaddr, error) { return address(d, "getsockname", sys.LocalAddr) }

func peerAddr(d *Descriptor) (sys.Sockaddr, error) { return address(d, "getpeername", sys.PeerAddr) }

func address(d *Descriptor, call string, get func(sys.FD) (sys.Sockaddr, syscall.Errno)) (a sys.Sockaddr, err error) {
	err = d.withFD(call, func(fd sys.FD) error {
		var e syscall.Errno
		if a, e = get(fd); e != 0 {
			return d.callError("address", call, e)
		}
		return nil
	})
	return a, err
}

// accept takes a connection off a listener's queue. It skips connections that were lost
// in the queue (accept(2)), at most as many as a backlog can hold.
func accept(d *Descriptor) (sys.FD, sys.Sockaddr, error) {
	fd, ok := d.h.Use()
	if !ok {
		return sys.InvalidFD, sys.Sockaddr{}, d.opError("accept", net.ErrClosed)
	}
	defer d.h.Done()
	var from sys.Sockaddr
	var e syscall.Errno
	shared := d.h.Shared()
	for range sys.MaxBacklog {
		var conn sys.FD
		if shared {
			conn, e = sys.AcceptShared(fd, &from)
		} else {
			conn, e = sys.Accept(fd, &from)
		}
		if e == 0 {
			return conn, from, nil
		}
		if !sys.LostInBacklog(e) {
			break
		}
	}
	if sys.WouldBlock(e) {
		d.h.Rearm(readable)
		return sys.InvalidFD, from, ErrWouldBlock
	}
	return sys.InvalidFD, from, d.callError("accept", "accept", e)
}

// acceptInto takes a connection off a listener's queue into s, which must be new.
func acceptInto(d *Descriptor, s *Stream, kind handle.Kind) (from sys.Sockaddr, err error) {
	if !s.h.IsNew() {
		return from, d.opError("accept", errNotNew)
	}
	fd, from, err := accept(d)
	if err != nil {
		return from, err
	}
	s.h.Init(fd, kind)
	return from, nil
}

// stopListening ends listening on Linux. Other systems return ENOTCONN (shutdown(2)), and
// end listening when the descriptor is closed.
func stopListening(d *Descriptor) error {
	return d.withFD("stop listening", func(fd sys.FD) error {
		if e := sys.Shutdown(fd, sys.SHUT_RDWR); e != 0 && e != syscall.ENOTCONN {
			return d.callError("stop listening", "shutdown", e)
		}
		return nil
	})
}
