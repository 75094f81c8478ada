// Package uring is a driver on Linux's io_uring (io_uring(7)), from Linux 6.0 on: the
// kernel accepts and receives by itself, into buffers that all streams of a loop
// share, and one io_uring_enter(2) a turn hands over what was asked for and waits.
//
// It is for the loop's goroutine, which it locks to its thread: the kernel does a
// ring's work on the thread that enters it.
package uring
