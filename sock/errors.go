package sock

import (
	"errors"
	"net"

	"github.com/pollux-io/pollux/internal/misuse"
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

// ErrBadArgument means that an argument or an option is out of range, or that the option does not
// apply to this socket. Nothing was changed. It is pollux.ErrBadArgument, and matches
// syscall.EINVAL with errors.Is.
var ErrBadArgument = misuse.ErrBadArgument
