// Package sys is the only importer of golang.org/x/sys: the system calls,
// constants and structure layouts that Pollux uses, each under one name on
// every system that has it. It holds no policy.
//
// Calls on non-blocking descriptors are raw where the system allows it: they do not
// notify Go's scheduler. If a goroutine has run for 10 ms in one time slice, as a busy
// loop always does, and is in a call of which the scheduler was notified, the
// scheduler's monitor takes its processor away; that costs a fifth of the loop's speed
// (docs/performance.md). A call that can block or take long must not be raw.
//
// Results are syscall.Errno, zero for success; EINTR is retried here.
//
// A file is named after the call or the option that it has, with the systems in the suffix;
// where that is not one system (_bsd, _solaris, _other), the build line decides. Layouts
// that Pollux defines itself have tests of their sizes and offsets.
package sys
