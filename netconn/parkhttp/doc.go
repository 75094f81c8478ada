// Package parkhttp serves idle keep-alive connections of net/http without a goroutine. Between two requests net/http keeps a
// goroutine with its stack, a bufio.Reader and a bufio.Writer for each connection, about 18 KB. Park makes a
// listener with which an http.Server, unmodified, has these only for connections with a request in progress, and for new ones:
//
//	ln, err := netconn.Listen(g, "tcp", ":8080")
//	if err != nil {
//		return err
//	}
//	server := &http.Server{Handler: mux, IdleTimeout: time.Hour}
//	ln, err = parkhttp.Park(server, ln)
//	if err != nil {
//		log.Print(err) // ln serves as before, and does not park
//	}
//	return server.Serve(ln)
//
// # How it works
//
// A connection that has been idle for 100 to 200 ms is parked: the Read of net/http returns netconn.ErrParked, so the
// goroutine ends and calls Close, which has no effect, while the loop keeps the connection. When the first four bytes of the
// next request arrive, as many as net/http itself waits for before its timeouts for requests begin, Accept returns the connection
// again. A connection with more frequent requests is not parked.
//
// This relies on what net/http does between two requests: it calls Server.ConnState with http.StateIdle, then
// SetReadDeadline, and then Read with all of its buffer, if that is empty, or with less, if it has bytes of a
// pipelined request; and if Read returns an error, it closes the connection without writing to it. The package documentation
// of net/http does not promise that. So the first Park of a program serves a few requests in memory, and returns an error
// if it finds that net/http does anything else.
//
// # What differs for the program
//
// Requests, pipelined or split, hijacked connections, the timeouts of the server, Shutdown and Close mean the same, for HTTP/1.0
// and HTTP/1.1. These are the differences:
//
//   - Parking is the end of a connection for net/http, and waking it is a new one. ConnState reports StateClosed and later
//     StateNew, with another net.Conn: the Parked method of the first is true, and so is the Woken method of the
//     second. If bytes arrive in the moment of parking, StateNew of the second may come first. ConnContext is called again; values that it has stored in the context for the connection are lost, unless it finds
//     them by the remote address.
//   - The net.Conn is a *Conn of this package, or a *TLSConn, also that of Hijack.
//   - SetKeepAlivesEnabled(false) closes the idle connections that are not parked. The others get "Connection: close" with
//     their next response, or end after the server's IdleTimeout.
//   - A parked connection that wakes within IdleTimeout is subject to ReadHeaderTimeout from then on, as without parking. The
//     IdleTimeout of a change to the server's field applies from the next request.
//   - Empty lines before a request are ignored after each parked period, and not only after a POST (RFC 9112, 2.2).
//   - Server.ConnState must not be set after Park: then nothing is parked.
//   - HTTPS is parked if TLS is below the listener (netconn.ListenConfig.TLSConfig), for HTTP/1.1: what the handshake has
//     negotiated stays with the loop, a few kilobytes for each connection, and no buffers of records. Serve it by
//     Serve. Nothing is parked by ServeTLS or behind tls.NewListener, because crypto/tls has state of the connection; nor if
//     another wrapper is between the listener and the server, as its connections are not of this package.
//   - HTTP/2 is not parked: one connection carries many requests.
//   - After Shutdown and Close of the server no connection is parked, and those that were are closed. They do not count
//     as connections that Shutdown waits for.
package parkhttp
