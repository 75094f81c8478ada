// Package netconn gives code that is written for package net connections of package loop: a net.Listener, net.Conn and
// net.PacketConn whose sockets belong to the loops of a loop.Group. Calls that wait park their goroutine until the loop
// has what they wait for. Servers and clients of package net run on it unchanged, such as net/http and crypto/tls:
//
//	ln, err := netconn.Listen(g, "tcp", ":8080")
//	if err != nil {
//		return err
//	}
//	return http.Serve(ln, mux)
//
// It is for programs that have a group anyway, for protocols on handlers, and run other protocols on the same
// loops, under the same limits (loop.Config) and statistics; and for tests on a simulated network (package looptest).
//
// With a TLSConfig, a ListenConfig and a Dialer return connections above TLS, which the loop decrypts: see TLSConn.
//
// # What differs from package net
//
// Behaviour and errors are those of package net: errors are *net.OpErrors, except io.EOF, and wrap net.ErrClosed,
// os.ErrDeadlineExceeded or the system's error. These are the differences:
//
//   - A type assertion to *net.TCPConn, *net.UnixConn or *net.UDPConn fails. The methods of those types that Conn and
//     PacketConn have are listed there. There is no File method: the loop uses the descriptor, and a second user of the
//     socket would take bytes from it. Conn.SyscallConn gives access to it, for options and to
//     look whether an idle connection is still open. sendfile(2) and splice(2)
//     are not used.
//   - Write returns when the bytes are queued, as with a larger send buffer: up to the high watermark
//     (loop.Config.HighWatermarkBytes), above which it waits until the peer has taken them down to the low one. A
//     failure to send them is the error of a later call. A Write that ends at its deadline has written the number of bytes
//     that it returns.
//   - Received bytes are read ahead, up to about 64 KiB; see Conn.Read.
//   - Close sends what is unsent in the background, and then waits for the peer's FIN for
//     loop.Config.LingerTimeout, until when the descriptor stays open. Unread bytes do not cause a reset.
//   - A call that would wait, made in a callback of the group, such as Data of a handler, returns loop.ErrOnLoop:
//     the loop could never end that wait. (A Read on another loop than that of its connection is found only if it is
//     the first one that waits.)
//   - The timeouts of loop.Config apply: IdleTimeout closes the connection, and calls then return
//     loop.ErrTimeout. The default is none.
//
// On Windows, errors match the Winsock errors, as those of package net do, and in addition the POSIX errors of package
// syscall: errors.Is(err, syscall.ECONNRESET) means the same everywhere, and errors.As finds those. There, a Read of zero bytes
// returns immediately, as on Unix, while that of package net waits for data; and ReadFrom drops what does not fit into
// its slice without an error, as on Unix, while that of package net returns WSAEMSGSIZE.
//
// The group must not be shut down before the connections are closed, unless they are to be cut off:
// loop.Group.Shutdown waits for them until its context ends. When the group has ended, all calls return errors
// that wrap net.ErrClosed.
package netconn
