// Package misuse has the error of invalid arguments, which all public packages share.
package misuse

import "syscall"

// ErrBadArgument is wrapped by every error that an invalid argument causes. It matches
// syscall.EINVAL with errors.Is.
var ErrBadArgument error = badArgument{}

type badArgument struct{}

func (badArgument) Error() string        { return "bad argument" }
func (badArgument) Is(target error) bool { return target == syscall.EINVAL }
