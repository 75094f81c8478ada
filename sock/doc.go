// Package sock provides non-blocking sockets, pipes and foreign descriptors for use with
// pollux.Poll.
//
// Descriptors are created non-blocking and close-on-exec. Reading, writing and accepting return
// ErrWouldBlock when the operation would block, io.EOF after the peer's FIN, and ErrTruncated for
// a datagram that is longer than the buffer; all other errors are of type *net.OpError. No call
// blocks, even if a duplicate of the descriptor, such as one passed to a child process, has been
// switched to blocking mode. (On Windows only ioctlsocket does that to a socket; calls then
// block.) Connecting returns immediately; Stream.ConnectError returns the outcome. A TCP stream
// that the system has connected to itself is an error, ECONNREFUSED.
//
// Methods may be called from any goroutine. Close does not wait for other calls: the last call in
// progress closes the descriptor, so that no call reaches a reused number.
//
// # Addresses
//
// Sockets have the methods LocalAddr and RemoteAddr, listeners Addr. They return a netip.AddrPort
// for TCP and UDP, and a string for Unix sockets. A Stream, whose family is not known, has
// LocalNetAddr and RemoteNetAddr, which return a net.Addr. The options LocalAddr and LocalUnixAddr
// bind a socket before it connects.
//
// The name of a Unix socket is a path of at most 108 bytes on Linux, 107 on Windows, illumos and
// Solaris, and 103 on macOS and the BSDs. On Linux a leading @ stands for the zero byte of an
// abstract name (unix(7)): up to 107 arbitrary bytes follow, including zero bytes. A path that
// begins with @ is written ./@. An unnamed socket has the empty name.
//
// # Options
//
// Functions that create sockets take options. SetOptions takes those that also apply to an open
// socket. NoDelay, KeepAlive, UserTimeout, ReadBuffer and WriteBuffer of a listener are for the
// connections that it accepts.
//
// # Packages net and os
//
// The functions FromTCPConn, FromFile and so on duplicate the descriptor of a value of another
// package, and File and NetConn return a duplicate of a socket. There are two descriptors of one
// open file or socket then, and each owner closes its own; a connection ends when both are closed.
// Read a stream by one of them only. FromFD and Detach transfer a descriptor instead.
//
// # Misuse
//
// A call with an invalid argument, or with an option that does not apply to the socket, returns a
// *net.OpError with ErrBadArgument, which names the argument and its range; it returns immediately
// and has no effect. A call on a closed socket, or on a zero value, returns ErrClosed; one that only
// returns an address returns the zero AddrPort, nil or the empty name.
package sock

// For those who change the package: descriptor.go is what all types have in common, over
// internal/handle; make.go makes a socket, options.go has the options and setoptions.go sets them;
// stream.go, tcp.go, udp.go, unix.go and pipe.go have its operations, setget.go its other options, and
// convert.go the ways from and to packages net and os. System calls are in internal/sys.
//
// The types embed unexported aliases (held, connecting, accepting) of internal types without exported
// fields or methods: so the packages of this module reach the descriptor (handle.Of, stream.Of), and
// users do not.
