// Package sock provides non-blocking sockets, pipes and foreign descriptors for use with
// pollux.Poll.
//
// Descriptors are created non-blocking and close-on-exec. Read, Write and similar calls
// return ErrWouldBlock when the operation would block, io.EOF after the peer's FIN, and a
// *net.OpError for other errors. They do not block even if a duplicate of the descriptor,
// such as one passed to a child process, has been switched to blocking mode. (On Windows
// only ioctlsocket does that to a socket; calls then block.) Connecting returns
// immediately; ConnectError returns the outcome. A TCP stream that the system has
// connected to itself is an error, ECONNREFUSED. Methods may be called from any goroutine.
// After Close, the last call in progress closes the descriptor.
package sock

// For those who change the package: descriptor.go is what all types have in common, over
// internal/handle; make.go and options.go make a socket; stream.go, tcp.go, udp.go, unix.go and
// pipe.go have its operations, setget.go its options, and convert.go the ways from and to packages
// net and os. System calls are in internal/sys.
