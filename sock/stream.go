package sock

import (
	"io"
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// Stream has the fields and methods that TCP and Unix streams have in common.
type Stream struct {
	Descriptor
	attempt *attempt // nil if the stream was created connected
}

// ConnectError returns the outcome of connecting: nil if the stream is connected,
// ErrWouldBlock if connecting has not ended, or a *net.OpError with the errno. It may be
// called repeatedly and concurrently, and then returns the same outcome. For an accepted
// stream it returns nil.
//
// The kernel returns a failure only once: a concurrent Read or Write may take the error,
// and ConnectError then may still return ErrWouldBlock. So do not read or write before
// connecting has ended.
func (s *Stream) ConnectError() error {
	if s.attempt == nil {
		if s.h.IsNew() {
			return s.opError("connect", net.ErrClosed)
		}
		return nil
	}
	return s.attempt.connectError(&s.Descriptor)
}

// Read reads available bytes into b. It returns io.EOF if the peer has closed its sending
// side, ErrWouldBlock if no bytes are available, and 0 and nil only for an empty b.
//
// For a TCP stream, fewer bytes than len(b) mean that the kernel's buffer is drained: with
// an Edge registration the next bytes cause a new event, and the caller can skip the Read
// that would return ErrWouldBlock. There are two exceptions, in which the caller must read
// on: after an event with ReadClosed, and at an urgent mark (tcp(7)). On a Unix stream a
// read also ends at passed descriptors (unix(7)): there, read until ErrWouldBlock.
func (s *Stream) Read(b []byte) (int, error) {
	fd, ok := s.h.Use()
	if !ok {
		return s.errClosed("read")
	}
	n, e := sys.Recv(fd, b, 0)
	s.h.Done()
	if n > 0 && s.isConnected() { // the most common case of received
		if n < len(b) {
			s.h.Rearm(readable)
		}
		return n, nil
	}
	return s.received("read", "recv", n, len(b), e)
}

func (s *Stream) errClosed(op string) (int, error) { return 0, s.opError(op, net.ErrClosed) }

// Peek is Read without removing the bytes from the receive buffer. With an Edge
// registration on a backend that emulates edges (poll, iocp), each Peek that gets less than
// len(b) causes the same readiness to be reported again: to wait for more bytes, use
// Oneshot.
func (s *Stream) Peek(b []byte) (int, error) { return s.recv("peek", b, sys.MSG_PEEK) }

func (s *Stream) recv(op string, b []byte, flags int) (int, error) {
	fd, ok := s.h.Use()
	if !ok {
		return s.errClosed(op)
	}
	n, e := sys.Recv(fd, b, flags)
	s.h.Done()
	return s.received(op, "recv", n, len(b), e)
}

// Readv reads into the slices in turn, as Read does. It uses at most the first 64 (on
// Solaris 16) of the slices that are not empty.
func (s *Stream) Readv(bufs [][]byte) (int, error) {
	var v sys.Iovecs
	for _, b := range bufs {
		if !v.Add(b) {
			break
		}
	}
	fd, ok := s.h.Use()
	if !ok {
		return 0, s.opError("read", net.ErrClosed)
	}
	n, e := sys.Recvv(fd, &v)
	s.h.Done()
	return s.received("read", "recvmsg", n, v.Bytes, e)
}

// received converts the result of a receive into at most size bytes.
func (s *Stream) received(op, call string, n, size int, e syscall.Errno) (int, error) {
	if e == 0 && n > 0 {
		if err := s.connectFailure(); err != nil {
			return 0, err
		}
	}
	switch {
	case e == 0 && n == size:
		return n, nil
	case size == 0 && sys.WouldBlock(e):
		return 0, nil // the caller asked for 0 bytes
	case e == 0 && n == 0:
		return 0, s.endError()
	case e == 0:
		s.h.Rearm(readable)
		return n, nil
	case sys.WouldBlock(e):
		s.h.Rearm(readable)
		return 0, ErrWouldBlock
	}
	return 0, s.transferError(op, call, readable, e)
}

// transferError returns the error of a transfer in direction d that failed with e. If the outcome
// of connecting is not known yet, e may be that outcome: the kernel does not return it
// again. ENOTCONN may mean that connecting has not ended, where Linux returns EAGAIN.
func (s *Stream) transferError(op, call string, d selector.Interest, e syscall.Errno) error {
	switch outcome := s.connectOutcome(e); {
	case outcome == 0 && e == syscall.ENOTCONN:
		s.h.Rearm(d)
		return ErrWouldBlock
	case outcome != 0 && outcome != connected && outcome != uint32(e):
		return s.attempt.err(s.h.Kind()) // the cause of e
	}
	return s.callError(op, call, e)
}

// endError returns the error of a read of 0 bytes: io.EOF, or the error of connecting, if that
// failed. A read also returns 0 bytes on a socket that was never connected, after the
// kernel has returned the error once.
func (s *Stream) endError() error {
	if outcome := s.connectOutcome(0); outcome != 0 && outcome != connected {
		return s.attempt.err(s.h.Kind())
	}
	return io.EOF
}

// isConnected reports whether the stream is known to be, or to have been, connected.
func (s *Stream) isConnected() bool {
	return s.attempt == nil || s.attempt.outcome.Load() == connected
}

// connectFailure returns the error of connecting after bytes were transferred: if the stream turns
// out to be connected to itself, the bytes were its own.
func (s *Stream) connectFailure() error {
	if outcome := s.connectOutcome(0); outcome != 0 && outcome != connected {
		return s.attempt.err(s.h.Kind())
	}
	return nil
}

// connectOutcome returns the outcome of connecting: see attempt.query. Without an attempt the stream is
// connected.
func (s *Stream) connectOutcome(e syscall.Errno) (outcome uint32) {
	if s.attempt == nil {
		return connected
	}
	fd, ok := s.h.Use()
	if !ok {
		return s.attempt.outcome.Load()
	}
	defer s.h.Done()
	return s.attempt.query(fd, e)
}

// Write writes as much of b as the kernel accepts and returns the number of bytes. If that
// is less than len(b), it also returns an error: ErrWouldBlock if the kernel's buffer is
// full. Then wait for Writable and write the rest.
func (s *Stream) Write(b []byte) (int, error) {
	fd, ok := s.h.Use()
	if !ok {
		return s.errClosed("write")
	}
	n, e := sys.Send(fd, b, 0)
	s.h.Done()
	if e == 0 && n == len(b) && s.isConnected() { // the most common case of sent
		return n, nil
	}
	return s.sent("write", "send", n, len(b), e)
}

func (s *Stream) send(op string, b []byte, flags int) (int, error) {
	fd, ok := s.h.Use()
	if !ok {
		return s.errClosed(op)
	}
	n, e := sys.Send(fd, b, flags)
	s.h.Done()
	return s.sent(op, "send", n, len(b), e)
}

// Writev writes the slices in turn, as Write does. It accepts any number of slices.
func (s *Stream) Writev(bufs [][]byte) (int, error) {
	fd, ok := s.h.Use()
	if !ok {
		return 0, s.opError("write", net.ErrClosed)
	}
	total, next := 0, 0
	for {
		var v sys.Iovecs
		for next < len(bufs) && v.Add(bufs[next]) {
			next++
		}
		n, e := 0, syscall.Errno(0)
		if v.Bytes > 0 {
			n, e = sys.Sendv(fd, &v)
		}
		total += n
		if e != 0 || n < v.Bytes || next == len(bufs) {
			s.h.Done()
			_, err := s.sent("write", "sendmsg", n, v.Bytes, e)
			return total, err
		}
	}
}

// sent converts the result of a send of asked bytes.
func (s *Stream) sent(op, call string, n, asked int, e syscall.Errno) (int, error) {
	if e == 0 && n > 0 {
		if err := s.connectFailure(); err != nil {
			return 0, err
		}
	}
	switch {
	case e == 0 && n == asked:
		return n, nil
	case e == 0 || sys.WouldBlock(e):
		s.h.Rearm(writable)
		return n, ErrWouldBlock
	}
	return n, s.transferError(op, call, writable, e)
}

// CloseWrite shuts down sending: the peer gets a FIN after the bytes already written. The
// stream can still be read.
func (s *Stream) CloseWrite() error { return s.shutdown("close write", sys.SHUT_WR) }

// CloseRead shuts down receiving (shutdown(2), SHUT_RD). The stream can still be written.
func (s *Stream) CloseRead() error { return s.shutdown("close read", sys.SHUT_RD) }

func (s *Stream) shutdown(op string, how int) error {
	return s.withFD(op, func(fd sys.FD) error {
		if e := sys.Shutdown(fd, how); e != 0 {
			return s.callError(op, "shutdown", e)
		}
		return nil
	})
}

// LocalNetAddr returns the stream's local address as a *net.TCPAddr or *net.UnixAddr, or
// nil if the stream is closed.
func (s *Stream) LocalNetAddr() net.Addr { return s.netAddr(localAddr(&s.Descriptor)) }

// RemoteNetAddr returns the peer's address as a *net.TCPAddr or *net.UnixAddr, or nil if
// there is no peer.
func (s *Stream) RemoteNetAddr() net.Addr { return s.netAddr(peerAddr(&s.Descriptor)) }

func (s *Stream) netAddr(a sys.Sockaddr, err error) net.Addr {
	if err != nil {
		return nil
	}
	return netAddr(s.h.Kind(), &a)
}
