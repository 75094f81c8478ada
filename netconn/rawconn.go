package netconn

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/layered"
)

// SyscallConn gives access to the descriptor, for options by Control, as loop.Conn.SyscallConn does.
//
// Read of the RawConn is for clients that inspect an idle connection before they use it again, such as go-redis. It calls f
// once, which must not block, and should only look (MSG_PEEK): bytes that f takes are missing for Conn.Read. The error is
// errors.ErrUnsupported if f returns false, in order to wait, and if received bytes are unread: f is not called then, because it
// would not find them. After the deadline of Read it is os.ErrDeadlineExceeded, and net.ErrClosed after Close. The descriptor
// of a connection on a simulated network is not one of the system, so a system call of f fails with EBADF.
//
// Write of the RawConn returns errors.ErrUnsupported: only the loop writes.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.raw.SyscallConn()
	if err != nil {
		return nil, err
	}
	return rawConn{raw, c}, nil
}

// rawConn is the RawConn of package loop, with Read.
type rawConn struct {
	syscall.RawConn
	c *Conn
}

// Read implements syscall.RawConn. A connection of which f finds nothing to read may have received bytes that the loop has not
// delivered yet: as if they came after the call.
func (r rawConn) Read(f func(fd uintptr) bool) error {
	if err := r.c.rawReadError(); err != nil {
		return r.c.opError("raw-read", err)
	}
	done := false
	if err := r.Control(func(fd uintptr) { done = f(fd) }); err != nil {
		return r.c.opError("raw-read", causeOf(err))
	}
	if !done {
		return r.c.opError("raw-read", fmt.Errorf("wait until the descriptor is readable: %w; use Conn.Read", errors.ErrUnsupported))
	}
	return nil
}

// rawReadError returns why Read of a rawConn must not call its function, or nil.
func (c *Conn) rawReadError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case c.r.expired:
		return errDeadline
	case layered.Of(c.raw) != nil:
		return fmt.Errorf("look at the descriptor of a connection with TLS, which has ciphertext: %w; use Conn.Read", errors.ErrUnsupported)
	case c.in != nil:
		return fmt.Errorf("look for bytes at the descriptor while %d that the loop has received are unread: %w; use Conn.Read", c.in.Len(), errors.ErrUnsupported)
	}
	return nil
}
