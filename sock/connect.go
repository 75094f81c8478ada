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

// attempt is how far a stream has come with connecting.
type attempt struct {
	to atomic.Pointer[sys.Sockaddr] // nil once it is connected
	// outcome is 0 while it is open, connected, or the errno of the failure: the kernel
	// tells it once only.
	outcome atomic.Uint32
	looking sync.Mutex // so that nobody looks after an error was taken, and before it is recorded
}

func newAttempt(to *sys.Sockaddr) *attempt {
	a := &attempt{}
	a.to.Store(to)
	return a
}

const connected = ^uint32(0)

func init() {
	hook.PrepareTCP = func(stream any, to netip.AddrPort) error {
		m := connecting(handle.TCPStream, nil)
		a, err := m.prepareTCP(to)
		if err != nil {
			return err
		}
		return m.into(stream.(*Stream), newAttempt(a))
	}
	hook.PrepareUnix = func(stream any, name string) error {
		m := connecting(handle.UnixStream, nil)
		a, err := m.prepareUnix(name)
		if err != nil {
			return err
		}
		return m.into(stream.(*Stream), newAttempt(a))
	}
	hook.Delays = func(listener any) bool {
		l, ok := listener.(*TCPListener)
		return ok && l.delays
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
			s.attempt.ended(fd, e)
			s.h.Done()
		}
		return s.ConnectError()
	}
}

// into makes s the stream of the socket.
func (m *maker) into(s *Stream, a *attempt) error {
	if !s.h.IsNew() {
		return m.fail(errNotNew)
	}
	s.attempt = a
	s.h.Init(m.fd, m.kind)
	return nil
}

// beginConnect begins to connect a stream that was prepared.
func (s *Stream) beginConnect() error {
	fd, ok := s.h.Use()
	if !ok {
		return s.failure("connect", net.ErrClosed)
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
	s.attempt.ended(fd, e)
	return s.ConnectError()
}

// ended records how it has ended, if that is not known: well if e is zero, unless the
// socket is connected with itself.
func (a *attempt) ended(fd sys.FD, e syscall.Errno) {
	if e == 0 && a.outcome.Load() == 0 && connectedToItself(fd, a.to.Load()) {
		e = syscall.ECONNREFUSED
		sys.SetLinger(fd, true, 0) // Close frees the port at once, for the server that belongs there
	}
	outcome := uint32(e)
	if e == 0 {
		outcome = connected
	}
	if a.outcome.CompareAndSwap(0, outcome) && e == 0 {
		a.to.Store(nil)
	}
}

// connectedToItself reports whether fd, which was to be connected to an address, is a TCP
// socket that is its own peer. The system may give a socket that connects to a port of this
// host, at which nobody listens, that very port as its own; then the two ends open at once,
// and are one (RFC 9293, 3.5).
func connectedToItself(fd sys.FD, to *sys.Sockaddr) bool {
	if to == nil || to.Family() == sys.AF_UNIX {
		return false
	}
	local, e := sys.LocalAddr(fd)
	if e != 0 || local.AddrPort().Port() != to.AddrPort().Port() { // saves a call
		return false
	}
	peer, e := sys.PeerAddr(fd) // which to is not, if that is 0.0.0.0
	return e == 0 && local.AddrPort() == peer.AddrPort()
}

// look finds out how connecting has ended: well by getpeername, which fails for as long as
// there is no peer, else by SO_ERROR. Writable alone, or the lack of an error, would take
// a socket that has failed before, or that is still trying, for an open one. And an error
// alone may be none of connecting: SO_ERROR tells what an open stream has met as well.
//
// e is what a transfer has failed with, 0 if there was none. Most of what it can be was
// SO_ERROR until then.
func (a *attempt) look(fd sys.FD, e syscall.Errno) (outcome uint32) {
	if outcome = a.outcome.Load(); outcome != 0 {
		return outcome
	}
	a.looking.Lock()
	defer a.looking.Unlock()
	if a.outcome.Load() != 0 {
		return a.outcome.Load()
	}
	_, none := sys.PeerAddr(fd)
	if none == 0 {
		a.ended(fd, 0)
		return a.outcome.Load()
	}
	switch e {
	case 0, syscall.ENOTCONN, syscall.EINVAL: // EINVAL is about urgent data, which there is none
		e = sys.SocketError(fd)
	case syscall.EPIPE: // also where another call has taken the error
		if pending := sys.SocketError(fd); pending != 0 {
			e = pending
		}
	}
	if e != 0 {
		a.ended(fd, e)
	}
	return a.outcome.Load()
}

// failure returns the error that connecting has ended with, if it has failed.
func (a *attempt) failure(kind handle.Kind) error {
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
		return d.failure("connect", net.ErrClosed)
	}
	defer d.h.Done()
	if a.look(fd, 0) == 0 {
		d.h.Blocked(writable)
		return ErrWouldBlock
	}
	return a.failure(d.h.Kind())
}

func localAddr(d *Descriptor) (sys.Sockaddr, error) { return address(d, "getsockname", sys.LocalAddr) }

func peerAddr(d *Descriptor) (sys.Sockaddr, error) { return address(d, "getpeername", sys.PeerAddr) }

func address(d *Descriptor, call string, get func(sys.FD) (sys.Sockaddr, syscall.Errno)) (a sys.Sockaddr, err error) {
	err = d.use(call, func(fd sys.FD) error {
		var e syscall.Errno
		if a, e = get(fd); e != 0 {
			return d.failed("address", call, e)
		}
		return nil
	})
	return a, err
}

// accept takes a connection off a listener's queue. Connections that were lost
// while they waited are passed over (accept(2)), as many as a backlog can hold.
func accept(d *Descriptor) (sys.FD, sys.Sockaddr, error) {
	fd, ok := d.h.Use()
	if !ok {
		return sys.InvalidFD, sys.Sockaddr{}, d.failure("accept", net.ErrClosed)
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
		d.h.Blocked(readable)
		return sys.InvalidFD, from, ErrWouldBlock
	}
	return sys.InvalidFD, from, d.failed("accept", "accept", e)
}

// acceptInto takes a connection off a listener's queue into s, which is new.
func acceptInto(d *Descriptor, s *Stream, kind handle.Kind) (from sys.Sockaddr, err error) {
	if !s.h.IsNew() {
		return from, d.failure("accept", errNotNew)
	}
	fd, from, err := accept(d)
	if err != nil {
		return from, err
	}
	s.h.Init(fd, kind)
	return from, nil
}

// stopListening ends listening on Linux; other systems refuse (shutdown(2), ENOTCONN), and
// have it end with the descriptor.
func stopListening(d *Descriptor) error {
	return d.use("stop listening", func(fd sys.FD) error {
		if e := sys.Shutdown(fd, sys.SHUT_RDWR); e != 0 && e != syscall.ENOTCONN {
			return d.failed("stop listening", "shutdown", e)
		}
		return nil
	})
}
