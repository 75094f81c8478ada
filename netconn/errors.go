package netconn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/loop"
)

// readErrorLocked returns why nothing more will be received, or nil. c.mu must be held.
func (c *Conn) readErrorLocked() error {
	switch {
	case c.readEnded || c.readClosed:
		return io.EOF
	case c.ended:
		return c.causeLocked("read", c.why)
	}
	return nil
}

// writeErrorLocked returns why nothing can be written, or nil. c.mu must be held.
func (c *Conn) writeErrorLocked() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.w.expired:
		return errDeadline
	case c.writeClosed:
		return sys.CallError(writeCall, syscall.EPIPE)
	case c.ended:
		return c.causeLocked("write", c.why)
	}
	return nil
}

// tryErrorLocked returns the error of a Write that the loop has refused with err. c.mu must be held.
func (c *Conn) tryErrorLocked(err error) error {
	if known := c.writeErrorLocked(); known != nil {
		return known
	}
	return c.causeLocked("write", err)
}

// causeLocked returns what op returns of a connection that has ended because of why: the system's error as package net has
// it. c.mu must be held.
func (c *Conn) causeLocked(op string, why error) error {
	var errno syscall.Errno
	switch {
	case errors.As(why, &errno):
		errno = c.errnoLocked(op, errno)
		c.reported = true
		if op == "read" {
			return sys.CallError(readCall, errno)
		}
		return sys.CallError(writeCall, errno)
	case why == nil || errors.Is(why, net.ErrClosed):
		return net.ErrClosed
	case errors.Is(why, loop.ErrShutdown):
		return fmt.Errorf("%w (%w)", loop.ErrShutdown, net.ErrClosed)
	}
	return why
}

// errnoLocked returns what the kernel returns from op on a connection that has failed with errno. On Unix, a reset is
// ECONNRESET once, and then EPIPE for writes. On Windows it is WSAECONNRESET for all calls: WSAESHUTDOWN, which is EPIPE
// there, is for sockets that were shut down (send, return values). c.mu must be held.
func (c *Conn) errnoLocked(op string, errno syscall.Errno) syscall.Errno {
	switch {
	case op == "read" && errno == syscall.EPIPE:
		return syscall.ECONNRESET // sending has found it
	case op == "write" && errno == syscall.ECONNRESET && c.reported && resetOnce:
		return syscall.EPIPE
	}
	return errno
}

// causeOf returns the error inside the *net.OpError of package loop or sock.
func causeOf(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err
	}
	return err
}

// withOp returns err as a *net.OpError of op: packages loop and sock name the system call, or the step, that failed.
func withOp(op, network string, err error) error {
	if x, ok := err.(*net.OpError); ok {
		y := *x
		y.Op = op
		return &y
	}
	return &net.OpError{Op: op, Net: network, Err: err}
}
