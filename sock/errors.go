package sock

import (
	"errors"
	"net"

	"github.com/pollux-io/pollux/internal/misuse"
	"github.com/pollux-io/pollux/internal/stream"
)

// ErrClosed is the error of calls on a closed socket. It is net.ErrClosed.
var ErrClosed = net.ErrClosed

// ErrWouldBlock means that the operation would block: there are no bytes to read, no connection
// to accept, no buffer space to write to, or connecting has not ended. It is normal: wait for the
// next event. It is returned as it is, not wrapped, and matches syscall.EAGAIN with errors.Is.
var ErrWouldBlock error = stream.ErrWouldBlock

// ErrTruncated means that a datagram was longer than the buffer: the buffer is full and the rest
// of the datagram is lost. It is returned as it is, not wrapped.
var ErrTruncated = errors.New("datagram is longer than the buffer; the rest of it is lost")

// ErrBadArgument means that an argument or an option is nil, invalid or out of range, or that the
// option does not apply to this socket. The call had no effect. It is pollux.ErrBadArgument, and
// matches syscall.EINVAL with errors.Is.
var ErrBadArgument = misuse.ErrBadArgument
