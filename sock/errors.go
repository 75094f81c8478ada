package sock

import (
	"errors"
	"net"
	"syscall"
)

// ErrClosed is what calls on a closed socket return: net.ErrClosed.
var ErrClosed = net.ErrClosed

// ErrWouldBlock says that there is nothing to read now, no connection to accept,
// no room to write, or that connecting has not ended. It is normal: wait for the
// next event. errors.Is also knows it as syscall.EAGAIN.
var ErrWouldBlock error = wouldBlock{}

// ErrTruncated says that a datagram was longer than the buffer; the buffer is
// full and the rest is gone.
var ErrTruncated = errors.New("datagram is longer than the buffer; the rest of it is lost")

// ErrBadOption says that an option's value is out of its range, or that it is no option
// of such a socket. Nothing was changed. errors.Is also knows it as syscall.EINVAL.
var ErrBadOption error = badOption{}

type badOption struct{}

func (badOption) Error() string        { return "bad option" }
func (badOption) Is(target error) bool { return target == syscall.EINVAL }

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "operation would block; wait for readiness and try again" }
func (wouldBlock) Temporary() bool { return true }
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Is(target error) bool {
	return target == syscall.EAGAIN || target == syscall.EWOULDBLOCK
}
