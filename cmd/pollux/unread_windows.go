package main

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// unread reports whether err says that nobody reads the output any more. The third
// is Wine's.
func unread(err error) bool {
	for _, e := range []syscall.Errno{windows.ERROR_NO_DATA, windows.ERROR_BROKEN_PIPE, windows.ERROR_PIPE_NOT_CONNECTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
