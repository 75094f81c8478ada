package netconn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

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
		return os.NewSyscallError("write", syscall.EPIPE)
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
// it. As in the kernel, a reset is ECONNRESET once, and then EPIPE for writes. c.mu must be held.
func (c *Conn) causeLocked(op string, why error) error {
	var errno syscall.Errno
	switch {
	case errors.As(why, &errno):
		switch {
		case op == "read" && errno == syscall.EPIPE:
			errno = syscall.ECONNRESET // sending has found it
		case op == "write" && errno == syscall.ECONNRESET && c.reported:
			errno = syscall.EPIPE
		}
		c.reported = true
		return os.NewSyscallError(op, errno)
	case why == nil || errors.Is(why, net.ErrClosed):
		return net.ErrClosed
	case errors.Is(why, loop.ErrShutdown):
		return fmt.Errorf("%w (%w)", loop.ErrShutdown, net.ErrClosed)
	}
	return why
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
