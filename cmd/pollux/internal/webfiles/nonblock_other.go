//go:build !unix

package webfiles

// nonblock is for named pipes, which no directory has here.
const nonblock = 0
