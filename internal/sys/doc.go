// Package sys is the only importer of golang.org/x/sys: the system calls,
// constants and structure layouts that Pollux uses, each under one name on
// every system that has it. It holds no policy.
//
// Calls on non-blocking descriptors are raw where the system allows it: they do
// not tell Go's scheduler of the call. The scheduler's monitor takes the
// processor away from a goroutine that it finds in an announced system call
// after 10 ms in one time slice, which a busy loop always is; that costs a
// fifth of its speed (docs/performance.md). A call that can block, or take
// long, must not be raw.
//
// Results are syscall.Errno, zero for success; EINTR is retried here.
package sys
