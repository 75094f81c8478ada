package sock

import (
	"errors"
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/stream"
)

// ErrClosed is the error of calls on a closed socket. It is net.ErrClosed.
var ErrClosed = net.ErrClosed

// ErrWouldBlock means that the operation would block: there is nothing to read, no
// connection to accept, no buffer space to write, or connecting has not ended. It is
// normal: wait for the next event. It matches syscall.EAGAIN with errors.Is.
var ErrWouldBlock error = stream.ErrWouldBlock

// ErrTruncated means that a datagram was longer than the buffer: the buffer is full and
// the rest of the datagram is lost.
var ErrTruncated = errors.New("datagram is longer than the buffer; the rest of it is lost")

// ErrBadOption means that an option's value is out of range, or that the option does not
// apply to this socket. Nothing was changed. It matches syscall.EINVAL with errors.Is.
var ErrBadOption error = badOption{}

type badOption struct{}

func (badOption) Error() string        { return "invalid option" }
func (badOption) Is(target error) bool { return target == syscall.EINVAL }
