//go:build !windows

package netconn_test

import "syscall"

// nativeErrnos is empty: package net returns POSIX errors.
var nativeErrnos map[syscall.Errno]syscall.Errno
