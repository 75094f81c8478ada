//go:build linux || darwin || freebsd || netbsd || solaris

package sys

const hasDualStack = true
