package loop

import (
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/sock"
)

// SetNoDelay switches Nagle's algorithm off (true, the default) or on. The error is ErrClosed, or
// errors.ErrUnsupported for a Unix socket.
func (c *Conn) SetNoDelay(on bool) error {
	return c.setOption("set no-delay", true, sock.NoDelay(on))
}

// SetUserTimeout sets how long sent bytes may stay unacknowledged before the kernel drops the
// connection (TCP_USER_TIMEOUT, RFC 5482): 0 to 2^31-1 ms, fractions of milliseconds rounded up; zero
// means the system's default. Closed then gets ETIMEDOUT. The error is ErrBadArgument, ErrClosed, or
// errors.ErrUnsupported for a Unix socket and on systems other than Linux. SetWriteTimeout works on
// every system.
func (c *Conn) SetUserTimeout(d time.Duration) error {
	return c.setOption("set user timeout", true, sock.UserTimeout(d))
}

// SetReadBuffer sets the size of the kernel's receive buffer in bytes, 1 or more; the system has
// limits of its own, and Linux doubles the value (socket(7)). It does not enlarge the window of a TCP
// connection that is open: for that use the option sock.ReadBuffer of Listen or Dial. The error is
// ErrBadArgument, ErrClosed or the system's.
func (c *Conn) SetReadBuffer(bytes int) error {
	return c.setOption("set read buffer", false, sock.ReadBuffer(bytes))
}

// SetWriteBuffer sets the size of the kernel's send buffer in bytes, 1 or more, as SetReadBuffer
// does that of the receive buffer. What the kernel does not take counts as unsent (Conn.Unsent).
func (c *Conn) SetWriteBuffer(bytes int) error {
	return c.setOption("set write buffer", false, sock.WriteBuffer(bytes))
}

// setOption sets an option, unless the connection is being closed. If the socket is closed in the
// meantime, SetOptions returns net.ErrClosed: it never reaches another socket.
func (c *Conn) setOption(op string, tcpOnly bool, o sock.Option) error {
	switch {
	case c.ends():
		return c.opError(op, ErrClosed)
	case tcpOnly && handle.Of(&c.stream).Kind() != handle.TCPStream:
		return c.opError(op, errors.ErrUnsupported)
	}
	if err := c.stream.SetOptions(o); err != nil {
		return c.opError(op, causeOf(err))
	}
	return nil
}

// causeOf returns the error inside the *net.OpError of package sock.
func causeOf(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err
	}
	return err
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
