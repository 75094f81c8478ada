package sock

import (
	"io"
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// Stream is what TCP and Unix streams have in common.
type Stream struct {
	Descriptor
	attempt *attempt // nil if it was connected from birth
}

// ConnectError tells how connecting has ended: nil if the stream is open,
// ErrWouldBlock if it is not over yet, or a *net.OpError with the errno. It may be
// asked again, by several at once, and gives the same answer. An accepted stream is open.
//
// The kernel tells a failure once: a Read or Write that is at it takes the news, and a
// ConnectError of the same moment may still be ErrWouldBlock. So read and write when
// connecting has ended.
func (s *Stream) ConnectError() error {
	if s.attempt == nil {
		if s.h.IsNew() {
			return s.failure("connect", net.ErrClosed)
		}
		return nil
	}
	return s.attempt.connectError(&s.Descriptor)
}

// Read reads what is there into b, up to its length. It returns io.EOF when the
// peer has sent all it will, ErrWouldBlock when there is nothing now, and 0 and
// nil only for an empty b.
//
// Fewer bytes than len(b) mean that the kernel has no more of a TCP stream: with an
// Edge registration the next bytes make a new event, and the call that would return
// ErrWouldBlock can be saved. Two things end a read early without such news, so
// go on reading there: an event with ReadClosed, and an urgent mark (tcp(7)). A read
// from a Unix stream also ends at descriptors that were passed (unix(7)): there, go on until
// ErrWouldBlock.
func (s *Stream) Read(b []byte) (int, error) {
	fd, ok := s.h.Use()
	if !ok {
		return s.closed("read")
	}
	n, e := sys.Recv(fd, b, 0)
	s.h.Done()
	if n > 0 && s.isConnected() { // received's commonest case
		if n < len(b) {
			s.h.Blocked(readable)
		}
		return n, nil
	}
	return s.received("read", "recv", n, len(b), e)
}

func (s *Stream) closed(op string) (int, error) { return 0, s.failure(op, net.ErrClosed) }

// Peek is Read without taking the bytes: they stay to be read. With an Edge registration,
// where the queue makes the edges (poll, iocp), each Peek that gets less than len(b) has them
// told again: to wait for more than is there, use Oneshot.
func (s *Stream) Peek(b []byte) (int, error) { return s.recv("peek", b, sys.MSG_PEEK) }

func (s *Stream) recv(op string, b []byte, flags int) (int, error) {
	fd, ok := s.h.Use()
	if !ok {
		return s.closed(op)
	}
	n, e := sys.Recv(fd, b, flags)
	s.h.Done()
	return s.received(op, "recv", n, len(b), e)
}

// Readv reads into the slices in turn, as Read does. It takes up to 64 slices a
// call.
func (s *Stream) Readv(bufs [][]byte) (int, error) {
	var v sys.Iovecs
	for _, b := range bufs {
		if !v.Add(b) {
			break
		}
	}
	fd, ok := s.h.Use()
	if !ok {
		return 0, s.failure("read", net.ErrClosed)
	}
	n, e := sys.Recvv(fd, &v)
	s.h.Done()
	return s.received("read", "recvmsg", n, v.Bytes, e)
}

func (s *Stream) received(op, call string, n, room int, e syscall.Errno) (int, error) {
	if e == 0 && n > 0 {
		if err := s.refused(); err != nil {
			return 0, err
		}
	}
	switch {
	case e == 0 && n == room:
		return n, nil
	case room == 0 && sys.WouldBlock(e):
		return 0, nil // nothing was asked for
	case e == 0 && n == 0:
		return 0, s.ended()
	case e == 0:
		s.h.Blocked(readable)
		return n, nil
	case sys.WouldBlock(e):
		s.h.Blocked(readable)
		return 0, ErrWouldBlock
	}
	return 0, s.broken(op, call, readable, e)
}

// broken makes the error of a failed transfer in direction d. If connecting has
// not been looked at yet, this may be how it ended: the kernel will not tell again.
// ENOTCONN may mean that it has not ended, where Linux would say would-block.
func (s *Stream) broken(op, call string, d selector.Interest, e syscall.Errno) error {
	switch outcome := s.look(e); {
	case outcome == 0 && e == syscall.ENOTCONN:
		s.h.Blocked(d)
		return ErrWouldBlock
	case outcome != 0 && outcome != connected && outcome != uint32(e):
		return s.attempt.failure(s.h.Kind()) // e only follows from it
	}
	return s.failed(op, call, e)
}

// ended makes the error of 0 bytes: what was never connected ends with them too, once
// the kernel has told why.
func (s *Stream) ended() error {
	if outcome := s.look(0); outcome != 0 && outcome != connected {
		return s.attempt.failure(s.h.Kind())
	}
	return io.EOF
}

// isConnected reports whether it is known that the stream is, or was, connected.
func (s *Stream) isConnected() bool {
	return s.attempt == nil || s.attempt.outcome.Load() == connected
}

// refused returns the error of connecting after bytes were moved: they were the stream's
// own, if it turns out now that it is connected with itself.
func (s *Stream) refused() error {
	if outcome := s.look(0); outcome != 0 && outcome != connected {
		return s.attempt.failure(s.h.Kind())
	}
	return nil
}

// look is that of the attempt; what had none is connected.
func (s *Stream) look(e syscall.Errno) (outcome uint32) {
	if s.attempt == nil {
		return connected
	}
	fd, ok := s.h.Use()
	if !ok {
		return s.attempt.outcome.Load()
	}
	defer s.h.Done()
	return s.attempt.look(fd, e)
}

// Write writes as much of b as the kernel takes, and says how much that was:
// fewer bytes than len(b) come with an error, ErrWouldBlock if it is only that
// the kernel's buffer is full. Then wait for Writable and write the rest.
func (s *Stream) Write(b []byte) (int, error) {
	fd, ok := s.h.Use()
	if !ok {
		return s.closed("write")
	}
	n, e := sys.Send(fd, b, 0)
	s.h.Done()
	if e == 0 && n == len(b) && s.isConnected() { // sent's commonest case
		return n, nil
	}
	return s.sent("write", "send", n, len(b), e)
}

func (s *Stream) send(op string, b []byte, flags int) (int, error) {
	fd, ok := s.h.Use()
	if !ok {
		return s.closed(op)
	}
	n, e := sys.Send(fd, b, flags)
	s.h.Done()
	return s.sent(op, "send", n, len(b), e)
}

// Writev writes the slices in turn, as Write does. It takes any number of them.
func (s *Stream) Writev(bufs [][]byte) (int, error) {
	fd, ok := s.h.Use()
	if !ok {
		return 0, s.failure("write", net.ErrClosed)
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

func (s *Stream) sent(op, call string, n, asked int, e syscall.Errno) (int, error) {
	if e == 0 && n > 0 {
		if err := s.refused(); err != nil {
			return 0, err
		}
	}
	switch {
	case e == 0 && n == asked:
		return n, nil
	case e == 0 || sys.WouldBlock(e):
		s.h.Blocked(writable)
		return n, ErrWouldBlock
	}
	return n, s.broken(op, call, writable, e)
}

// CloseWrite says to the peer that nothing more will be sent (FIN, after what
// has been written). Reading goes on.
func (s *Stream) CloseWrite() error { return s.shutdown("close write", sys.SHUT_WR) }

// CloseRead refuses what the peer sends from now on. Writing goes on.
func (s *Stream) CloseRead() error { return s.shutdown("close read", sys.SHUT_RD) }

func (s *Stream) shutdown(op string, how int) error {
	return s.use(op, func(fd sys.FD) error {
		if e := sys.Shutdown(fd, how); e != 0 {
			return s.failed(op, "shutdown", e)
		}
		return nil
	})
}

// LocalNetAddr returns the stream's own address as package net has it: a
// *net.TCPAddr or *net.UnixAddr; nil once the stream is closed.
func (s *Stream) LocalNetAddr() net.Addr { return s.netAddr(localAddr(&s.Descriptor)) }

// RemoteNetAddr returns the peer's address as package net has it, nil while there is
// no peer.
func (s *Stream) RemoteNetAddr() net.Addr { return s.netAddr(peerAddr(&s.Descriptor)) }

func (s *Stream) netAddr(a sys.Sockaddr, err error) net.Addr {
	if err != nil {
		return nil
	}
	return netAddr(s.h.Kind(), &a)
}
