// Package uring is a driver on Linux's io_uring (io_uring(7)), from Linux 6.0 on. The
// kernel accepts and receives by itself, into buffers that all streams of a loop
// share, and one io_uring_enter(2) per turn submits operations and waits.
//
// The driver locks the loop's goroutine to its thread, because the kernel does a ring's
// work on the thread that enters it.
package uring
