package sys

import (
	"errors"
	"slices"
	"syscall"
)

// IsResourceError reports whether err is transient: the system is out of descriptors, memory or
// epoll watches (ENOSPC), which may become available again.
func IsResourceError(err error) bool {
	return slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.ENOSPC},
		func(want error) bool { return errors.Is(err, want) })
}
