//go:build !windows

package main

import (
	"errors"
	"syscall"
)

// unread reports whether err says that nobody reads the output any more.
func unread(err error) bool { return errors.Is(err, syscall.EPIPE) }
