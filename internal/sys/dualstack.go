//go:build linux || darwin || freebsd || netbsd

package sys

const hasDualStack = true
