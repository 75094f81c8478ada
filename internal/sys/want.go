package sys

import (
	"errors"
	"slices"
	"syscall"
)

// IsWant reports whether a call has failed for want of something that may be there again:
// descriptors, memory, or watches of epoll (ENOSPC).
func IsWant(err error) bool {
	return slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.ENOSPC},
		func(want error) bool { return errors.Is(err, want) })
}
