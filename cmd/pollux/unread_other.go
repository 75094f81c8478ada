//go:build !windows

package main

import (
	"errors"
	"syscall"
)

// isClosedPipe reports whether err means that the reader of the output has closed the pipe.
func isClosedPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }
