// Package tlsconn is TLS for connections of package loop, by the standard crypto/tls. A handler gains it by one line, and
// stays what it is:
//
//	g.Listen("tcp", ":443", func(*loop.Conn) loop.Handler {
//		return tlsconn.Server(config, &session{})
//	})
//
// Peek looks at a client's first message before anything is decided, and Dial connects to a server.
//
// # What the handler sees
//
// The methods of loop.Conn and the callbacks mean the same as without TLS, for the decrypted stream: what is unread and
// unsent, watermarks, back-pressure, deadlines, the functions of WriteOwned, and the bytes in loop.LoopStats are counted in
// plaintext. These are the differences:
//
//   - Opened is called when the handshake is done. Until then writes are refused, there is no idle timeout, and the
//     handler gets no callback, also not if the handshake fails: Options.HandshakeFailed and StatsOf report that.
//   - The peer ends its side by the alert close_notify. A connection that ends without it has failed, with
//     ErrTruncated: what was received may be incomplete. The end of the TCP connection alone is no end.
//   - CloseWrite sends close_notify, and FIN. Receiving goes on. With TLS 1.2 and before, many peers end
//     both directions then, as RFC 5246, section 7.2.1, has it; a handler with a ReadClosed should call Close soon.
//     A peer that ends its side first gets close_notify when this side has sent everything and is closed.
//   - Abort and a panic reset the connection without close_notify, so the peer sees that it is incomplete. A failure or a
//     timeout ends it without close_notify, and resets it if bytes are unsent. If none are, the peer gets FIN, which some
//     implementations take for a complete end, among them crypto/tls.
//   - A record that cannot be decrypted, or bytes that are not TLS, end the connection with an error of crypto/tls, after
//     an alert. Renegotiation, which TLS 1.2 and before have, is refused.
//   - Detach is refused (errors.ErrUnsupported), and so is a second TLS inside of the first.
//   - Config.WriteTimeout and LingerTimeout see the progress of the peer in steps of up to 16 KiB: those of records.
//
// # Handshakes
//
// A client costs its bytes and a timer until its ClientHello is complete. Then a handshake runs on a goroutine, as crypto/tls
// demands. Per group GOMAXPROCS handshakes compute at once, 1,024 are in progress, and 16,384 are queued. If some are
// queued, those whose peer has been silent for half a second are ended in their favor (ErrHandshakeEvicted): silent
// clients do not keep others from their handshakes.
//
// # Memory
//
// After the handshake there is no goroutine, and records are decrypted where they were received. An idle connection has
// no buffers, whatever it has received and sent before: a few kilobytes for the state of crypto/tls. StatsOf reports
// whether that is so with the version of Go in use.
//
// docs/tls.md in the repository is the guide.
package tlsconn
