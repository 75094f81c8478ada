package sock

import (
	"net"

	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
)

// A Stream has the methods that TCP and Unix streams have in common. It is one end of a connection,
// or an attempt to connect.
type Stream struct {
	Descriptor
	connecting
}

type connecting = stream.Connecting

func (s *Stream) stream() stream.Stream { return stream.In(&s.held, &s.connecting) }

// ConnectError returns the outcome of connecting: nil if the stream is connected, ErrWouldBlock if
// connecting has not ended, or a *net.OpError with the system's error, such as ECONNREFUSED or
// ETIMEDOUT, or with ErrClosed. Once connecting has ended, every call returns the same until Close.
// For a stream that was created connected, by Accept for example, it returns nil.
//
// The kernel returns a failure only once: a concurrent Read or Write may take the error,
// and ConnectError then may still return ErrWouldBlock. So do not read or write before
// connecting has ended.
func (s *Stream) ConnectError() error { return s.stream().ConnectError() }

// Read reads available bytes into b. It returns io.EOF if the peer has closed its sending side and
// no bytes are left, ErrWouldBlock if no bytes are available, and 0 and nil only for an empty b.
//
// For a TCP stream, fewer bytes than len(b) mean that the kernel's buffer is drained: with
// an Edge registration the next bytes cause a new event, and the caller can skip the Read
// that would return ErrWouldBlock. There are two exceptions, in which the caller must read
// on: after an event with ReadClosed, and at an urgent mark (tcp(7)). On a Unix stream a
// read also ends at passed descriptors (unix(7)): there, read until ErrWouldBlock.
func (s *Stream) Read(b []byte) (int, error) {
	return s.stream().Read(b)
}

// Peek is Read that leaves the bytes in the receive buffer. With an Edge registration on the
// backends poll and iocp, each Peek that returns less than len(b) causes the same readiness to be
// reported again: to wait for more bytes, use Oneshot.
func (s *Stream) Peek(b []byte) (int, error) {
	return s.stream().Recv("peek", b, sys.MSG_PEEK)
}

// Readv reads into the slices in turn, as Read does, by one system call (readv(2)). It uses at most
// the first 64 (on illumos and Solaris 16) of the slices that are not empty.
func (s *Stream) Readv(bufs [][]byte) (int, error) {
	return s.stream().Readv(bufs)
}

// Write writes as much of b as the kernel accepts and returns the number of bytes. If that is less
// than len(b), it also returns an error: ErrWouldBlock if the kernel's buffer is full. Then wait
// for Writable and write the rest. After a reset by the peer, and after CloseWrite, it is ECONNRESET
// or EPIPE; SIGPIPE is not raised.
func (s *Stream) Write(b []byte) (int, error) {
	return s.stream().Write(b)
}

// Writev writes the slices in turn, as Write does, by one system call for each 64 (on illumos and
// Solaris 16) of those that are not empty (writev(2)). It accepts any number of slices.
func (s *Stream) Writev(bufs [][]byte) (int, error) {
	return s.stream().Writev(bufs)
}

// CloseWrite shuts down sending (shutdown(2), SHUT_WR): the peer gets a FIN after the bytes already
// written. The stream can still be read. The error is a *net.OpError with ErrClosed, or with the
// system's error, such as ENOTCONN after a reset by the peer.
func (s *Stream) CloseWrite() error { return s.shutdown("close write", sys.SHUT_WR) }

// CloseRead shuts down receiving (shutdown(2), SHUT_RD). The stream can still be written. The errors
// are those of CloseWrite.
func (s *Stream) CloseRead() error { return s.shutdown("close read", sys.SHUT_RD) }

func (s *Stream) shutdown(op string, how int) error {
	return s.withFD(op, func(fd sys.FD) error {
		if e := sys.Shutdown(fd, how); e != 0 {
			return s.callError(op, "shutdown", e)
		}
		return nil
	})
}

// LocalNetAddr returns the local address as a *net.TCPAddr or *net.UnixAddr, or nil if the stream
// is closed.
func (s *Stream) LocalNetAddr() net.Addr { return s.netAddr(localAddr(&s.Descriptor)) }

// RemoteNetAddr returns the peer's address as a *net.TCPAddr or *net.UnixAddr, or nil if
// there is no peer.
func (s *Stream) RemoteNetAddr() net.Addr { return s.netAddr(peerAddr(&s.Descriptor)) }

func (s *Stream) netAddr(a sys.Sockaddr, err error) net.Addr {
	if err != nil {
		return nil
	}
	return s.h().Kind().NetAddr(&a)
}
