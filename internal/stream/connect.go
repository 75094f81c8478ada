package stream

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// Attempt is the state of connecting a stream: it has begun, or its socket is prepared, and
// a driver connects it by Begin or by an operation of its own, whose result it records by
// RecordConnect. So ConnectError returns the same on all drivers.
type Attempt struct {
	to atomic.Pointer[sys.Sockaddr] // nil once it is connected
	// outcome is 0 while connecting has not ended; then it is connected or the errno of
	// the failure, which the kernel returns only once.
	outcome atomic.Uint32
	// mu is held from taking the error off the socket until outcome has it, so that no
	// other goroutine queries the socket in between.
	mu sync.Mutex
	// Undo removes what making the socket has created in the file system; nil if that is nothing.
	// The owner of a prepared stream calls it before it closes one that it does not connect, or
	// whose connecting has failed.
	Undo func()
}

// NewAttempt returns an Attempt to connect to an address, which must not change.
func NewAttempt(to *sys.Sockaddr) *Attempt {
	a := &Attempt{}
	a.to.Store(to)
	return a
}

const connected = ^uint32(0)

// ConnectTo returns the address to which a prepared stream is to be connected. Its memory
// does not change before RecordConnect, or else for the stream's lifetime.
func (s Stream) ConnectTo() *sys.Sockaddr { return s.Attempt.to.Load() }

// BeginConnect starts connecting a prepared stream; ConnectError returns the result. If
// BeginConnect returns an error, connecting has already failed.
func (s Stream) BeginConnect() error {
	fd, ok := s.Handle.Use()
	if !ok {
		return s.Handle.OpError("connect", net.ErrClosed)
	}
	defer s.Handle.Done()
	e := syscall.Errno(0)
	if s.Handle.Shared() {
		e = sys.SetNonblock(fd) // a duplicate may have been switched to blocking
	}
	if e == 0 {
		e = sys.Connect(fd, s.Attempt.to.Load())
	}
	if e == 0 || sys.InProgress(e) {
		return nil
	}
	s.Attempt.record(fd, e)
	return s.ConnectError()
}

// RecordConnect records the outcome of connecting, zero for success, unless one is already
// recorded. It returns what ConnectError returns from then on.
func (s Stream) RecordConnect(e syscall.Errno) error {
	if fd, ok := s.Handle.Use(); ok {
		s.Attempt.record(fd, e)
		s.Handle.Done()
	}
	return s.ConnectError()
}

// ConnectError is sock.Stream.ConnectError.
func (s Stream) ConnectError() error {
	if s.Attempt == nil {
		if s.Handle.IsNew() {
			return s.Handle.OpError("connect", net.ErrClosed)
		}
		return nil
	}
	fd, ok := s.Handle.Use()
	if !ok {
		return s.Handle.OpError("connect", net.ErrClosed)
	}
	defer s.Handle.Done()
	if s.Attempt.query(fd, 0) == 0 {
		s.Handle.Rearm(writable)
		return ErrWouldBlock
	}
	return s.Attempt.err(s.Handle.Kind())
}

// isConnected reports whether the stream is known to be, or to have been, connected.
func (s Stream) isConnected() bool {
	return s.Attempt == nil || s.Attempt.outcome.Load() == connected
}

// connectFailure returns the error of connecting, or nil if it has not failed. e is as for
// Attempt.query.
func (s Stream) connectFailure(e syscall.Errno) error {
	if outcome := s.connectOutcome(e); outcome == 0 || outcome == connected {
		return nil
	}
	return s.Attempt.err(s.Handle.Kind())
}

// connectOutcome returns the outcome of connecting: see Attempt.query. Without an attempt
// the stream is connected.
func (s Stream) connectOutcome(e syscall.Errno) (outcome uint32) {
	if s.Attempt == nil {
		return connected
	}
	fd, ok := s.Handle.Use()
	if !ok {
		return s.Attempt.outcome.Load()
	}
	defer s.Handle.Done()
	return s.Attempt.query(fd, e)
}

// record records the outcome, unless it is already known: connected if e is zero, but
// ECONNREFUSED if the socket is connected to itself.
func (a *Attempt) record(fd sys.FD, e syscall.Errno) {
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
func (a *Attempt) query(fd sys.FD, e syscall.Errno) (outcome uint32) {
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
func (a *Attempt) err(kind handle.Kind) error {
	switch e := a.outcome.Load(); e {
	case 0, connected:
		return nil
	default:
		to := a.to.Load()
		return &net.OpError{Op: "connect", Net: kind.Network(), Addr: kind.NetAddr(to), Err: sys.AddressError("connect", syscall.Errno(e), to)}
	}
}
