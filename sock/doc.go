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
//
// # Addresses
//
// Connected sockets have LocalAddr and RemoteAddr, listeners Addr. They return the family's
// own type, which can be compared and is cheap: netip.AddrPort for TCP and UDP, a string for Unix
// sockets. Where the family is not known, Stream has LocalNetAddr and RemoteNetAddr, which return a
// net.Addr. The options that bind before connecting are LocalAddr and LocalUnixAddr.
//
// The name of a Unix socket is a path of at most 108 bytes on Linux and 103 to 107 elsewhere. On
// Linux a leading @ stands for the zero byte of an abstract name (unix(7)): up to 107 arbitrary bytes
// follow, including zero bytes. A path that begins with @ is written ./@. An unnamed socket has the
// empty name.
//
// # Options
//
// Functions that create sockets take options. Those that also apply to an open socket are passed to
// its SetOptions; on a listener they are for the connections that it accepts.
//
// # Misuse
//
// A call with an invalid argument, or with an option that does not apply to the socket, returns a
// *net.OpError with ErrBadArgument, which names the argument and its range; it returns immediately
// and has no effect. A call on a closed socket, or on a zero value, returns ErrClosed.
package sock

// For those who change the package: descriptor.go is what all types have in common, over
// internal/handle; make.go makes a socket, options.go has the options and setoptions.go sets them;
// stream.go, tcp.go, udp.go, unix.go and pipe.go have its operations, setget.go its other options, and
// convert.go the ways from and to packages net and os. System calls are in internal/sys.
//
// The types embed unexported aliases (held, connecting, accepting) of internal types without exported
// fields or methods: so the packages of this module reach the descriptor (handle.Of, stream.Of), and
// users do not.
