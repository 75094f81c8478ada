package loop

import (
	"errors"
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
)

// SetNoDelay switches Nagle's algorithm off (true, the default) or on. The error is ErrClosed, or
// errors.ErrUnsupported for a Unix socket.
func (c *Conn) SetNoDelay(on bool) error {
	return c.setOption("set TCP_NODELAY", true, func() error { return c.stream.SetNoDelay(on) })
}

// SetReadBuffer sets the size of the kernel's receive buffer in bytes, 1 or more; the system has
// limits of its own, and Linux doubles the value (socket(7)). It does not enlarge the window of a TCP
// connection that is open: for that use the option sock.ReadBuffer of Group.Listen or Dial. The error
// is ErrBadArgument, ErrClosed or the system's.
func (c *Conn) SetReadBuffer(bytes int) error {
	return c.setOption("set SO_RCVBUF", false, func() error { return c.stream.SetReadBuffer(bytes) })
}

// SetWriteBuffer sets the size of the kernel's send buffer in bytes, 1 or more, as SetReadBuffer
// does for the receive buffer. What the kernel does not take counts as unsent (Conn.Unsent).
func (c *Conn) SetWriteBuffer(bytes int) error {
	return c.setOption("set SO_SNDBUF", false, func() error { return c.stream.SetWriteBuffer(bytes) })
}

// setOption calls set, which sets a socket option, unless the connection is being closed. If the
// socket is closed in the meantime, set returns net.ErrClosed: it never reaches another socket.
func (c *Conn) setOption(op string, tcpOnly bool, set func() error) error {
	err := error(ErrClosed)
	switch {
	case c.ends():
	case tcpOnly && c.stream.PollHandle().Kind() != handle.TCPStream:
		err = errors.ErrUnsupported
	default:
		if err = set(); err == nil {
			return nil
		}
		var e *net.OpError
		if errors.As(err, &e) {
			return e
		}
	}
	return c.opError(op, err)
}

// SyscallConn gives access to the descriptor, for options that this package does not have: Control
// calls f with it, on the calling goroutine, and it stays open until f returns. f must not block,
// read, write or close it. After the connection is closed, or being closed, SyscallConn and Control
// return ErrClosed, and f is not called. Read and Write of the RawConn return
// errors.ErrUnsupported: only the loop reads and writes.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.stream.SyscallConn()
	if err != nil {
		return nil, err
	}
	if c.ends() {
		return nil, c.opError("control", ErrClosed)
	}
	return controlOnly{raw: raw, fail: c.opError, ends: c.ends}, nil
}

// controlOnly is a RawConn without Read and Write, which would take bytes from the loop, or send
// bytes between those that are queued.
type controlOnly struct {
	raw  syscall.RawConn
	fail func(op string, err error) error // returns the error of an operation
	ends func() bool                      // reports whether the socket is being closed
}

// Control implements syscall.RawConn.
func (r controlOnly) Control(f func(fd uintptr)) error {
	switch {
	case f == nil:
		return r.fail("control", errNil("a function"))
	case r.ends():
		return r.fail("control", ErrClosed)
	}
	return r.raw.Control(f)
}

// Read implements syscall.RawConn.
func (r controlOnly) Read(func(fd uintptr) bool) error {
	return r.fail("read", errors.ErrUnsupported)
}

// Write implements syscall.RawConn.
func (r controlOnly) Write(func(fd uintptr) bool) error {
	return r.fail("write", errors.ErrUnsupported)
}
