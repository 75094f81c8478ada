package stream

import "syscall"

// ErrWouldBlock is sock.ErrWouldBlock.
var ErrWouldBlock error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "operation would block; wait for readiness and try again" }
func (wouldBlock) Temporary() bool { return true }
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Is(target error) bool {
	return target == syscall.EAGAIN || target == syscall.EWOULDBLOCK
}
