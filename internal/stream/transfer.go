package stream

import (
	"io"
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// Read is sock.Stream.Read.
func (s Stream) Read(b []byte) (int, error) {
	fd, ok := s.Handle.Use()
	if !ok {
		return s.errClosed("read")
	}
	n, e := sys.Recv(fd, b, 0)
	s.Handle.Done()
	if n > 0 && s.isConnected() { // the most common case of received
		if n < len(b) {
			s.Handle.Rearm(readable)
		}
		return n, nil
	}
	return s.received("read", "recv", n, len(b), e)
}

func (s Stream) errClosed(op string) (int, error) { return 0, s.Handle.OpError(op, net.ErrClosed) }

// Recv is Read with the flags of recv(2). op is for errors.
func (s Stream) Recv(op string, b []byte, flags int) (int, error) {
	fd, ok := s.Handle.Use()
	if !ok {
		return s.errClosed(op)
	}
	n, e := sys.Recv(fd, b, flags)
	s.Handle.Done()
	return s.received(op, "recv", n, len(b), e)
}

// Readv is sock.Stream.Readv.
func (s Stream) Readv(bufs [][]byte) (int, error) {
	var v sys.Iovecs
	for _, b := range bufs {
		if !v.Add(b) {
			break
		}
	}
	fd, ok := s.Handle.Use()
	if !ok {
		return s.errClosed("read")
	}
	n, e := sys.Recvv(fd, &v)
	s.Handle.Done()
	return s.received("read", "recvmsg", n, v.Bytes, e)
}

// Received converts the result of a receive into size bytes, more than 0, that the caller has done
// itself, as Read does with that of recv(2).
func (s Stream) Received(n, size int, e syscall.Errno) (int, error) {
	return s.received("read", "recv", n, size, e)
}

// Sent converts the result of a send of asked bytes that the caller has done itself, as Write does with
// that of send(2).
func (s Stream) Sent(n, asked int, e syscall.Errno) (int, error) {
	return s.sent("write", "send", n, asked, e)
}

// received converts the result of a receive into at most size bytes.
func (s Stream) received(op, call string, n, size int, e syscall.Errno) (int, error) {
	if err := s.ownBytes(n, e); err != nil {
		return 0, err
	}
	switch {
	case e == 0 && n == size:
		return n, nil
	case size == 0 && sys.WouldBlock(e):
		return 0, nil // the caller asked for 0 bytes
	case e == 0 && n == 0:
		return 0, s.endError()
	case e == 0:
		s.Handle.Rearm(readable)
		return n, nil
	case sys.WouldBlock(e):
		s.Handle.Rearm(readable)
		return 0, ErrWouldBlock
	}
	return 0, s.transferError(op, call, readable, e)
}

// ownBytes returns the error of connecting if n bytes were transferred and the stream turns
// out to be connected to itself: the bytes were its own.
func (s Stream) ownBytes(n int, e syscall.Errno) error {
	if e != 0 || n == 0 {
		return nil
	}
	return s.connectFailure(0)
}

// transferError returns the error of a transfer in direction d that failed with e. If the outcome
// of connecting is not known yet, e may be that outcome: the kernel does not return it
// again. ENOTCONN may mean that connecting has not ended, where Linux returns EAGAIN.
func (s Stream) transferError(op, call string, d selector.Interest, e syscall.Errno) error {
	switch outcome := s.connectOutcome(e); {
	case outcome == 0 && e == syscall.ENOTCONN:
		s.Handle.Rearm(d)
		return ErrWouldBlock
	case outcome != 0 && outcome != connected && outcome != uint32(e):
		return s.Attempt.err(s.Handle.Kind()) // the cause of e
	}
	return s.Handle.CallError(op, call, e)
}

// endError returns the error of a read of 0 bytes: io.EOF, or the error of connecting, if that
// failed. A read also returns 0 bytes on a socket that was never connected, after the
// kernel has returned the error once.
func (s Stream) endError() error {
	if err := s.connectFailure(0); err != nil {
		return err
	}
	return io.EOF
}

// Write is sock.Stream.Write.
func (s Stream) Write(b []byte) (int, error) {
	fd, ok := s.Handle.Use()
	if !ok {
		return s.errClosed("write")
	}
	n, e := sys.Send(fd, b, 0)
	s.Handle.Done()
	if e == 0 && n == len(b) && s.isConnected() { // the most common case of sent
		return n, nil
	}
	return s.sent("write", "send", n, len(b), e)
}

// Send is Write with the flags of send(2). op is for errors.
func (s Stream) Send(op string, b []byte, flags int) (int, error) {
	fd, ok := s.Handle.Use()
	if !ok {
		return s.errClosed(op)
	}
	n, e := sys.Send(fd, b, flags)
	s.Handle.Done()
	return s.sent(op, "send", n, len(b), e)
}

// Writev is sock.Stream.Writev.
func (s Stream) Writev(bufs [][]byte) (int, error) {
	fd, ok := s.Handle.Use()
	if !ok {
		return s.errClosed("write")
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
			s.Handle.Done()
			_, err := s.sent("write", "sendmsg", n, v.Bytes, e)
			return total, err
		}
	}
}

// sent converts the result of a send of asked bytes.
func (s Stream) sent(op, call string, n, asked int, e syscall.Errno) (int, error) {
	if err := s.ownBytes(n, e); err != nil {
		return 0, err
	}
	switch {
	case e == 0 && n == asked:
		return n, nil
	case e == 0 || sys.WouldBlock(e):
		s.Handle.Rearm(writable)
		return n, ErrWouldBlock
	}
	return n, s.transferError(op, call, writable, e)
}
