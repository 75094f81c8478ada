package main

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// isClosedPipe reports whether err means that the reader of the output has closed it. The
// third error is Wine's.
func isClosedPipe(err error) bool {
	for _, e := range []syscall.Errno{windows.ERROR_NO_DATA, windows.ERROR_BROKEN_PIPE, windows.ERROR_PIPE_NOT_CONNECTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
