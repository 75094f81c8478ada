// Package loop runs protocol code over very many connections. A Group has a few
// loops, one for each processor; each Loop is one goroutine that owns its
// connections and sleeps in one place. Protocol code is a Handler.
//
// The promises:
//
//   - L1: callbacks of one connection run one at a time, in order, on its loop;
//     Opened first, Closed once and last, with the reason. A panic in a callback
//     closes that connection with the panic as reason, and the loop goes on.
//   - L2: every method of Conn is safe from any goroutine and never blocks. On a
//     closed connection it returns ErrClosed; it never reaches another peer's socket.
//   - L3: Write takes all of b or, past the hard limit, nothing (ErrBufferFull).
//     Writes made during one turn of the loop go out together. Nothing written is
//     lost or reordered: a peer that takes nothing for LingerTimeout while a connection
//     is being closed is reset. Close flushes, then sends FIN; CloseWrite half-closes;
//     Abort resets.
//   - L3b: nothing received is lost either. When sending fails, or the peer resets the
//     connection, what was received before is delivered to Data, in order, before Closed; a
//     paused handler gets it after Resume. If nothing is unread, Closed comes at once,
//     also while paused. Conn.Context is cancelled as soon as the peer is known to be gone.
//   - L4: while the unsent bytes are above the high watermark, reading of an accepted
//     connection stops; at the low one it resumes and Drained is called. Dialed connections
//     read on, so that two ends never wait for each other; Conn.SetBackpressure chooses.
//     Pause and Resume do it by hand.
//   - L5: one busy connection takes at most its budget of bytes in one turn.
//   - L6: timers are O(1) each, a million at once, and not early.
//   - L7: running out of descriptors pauses the listener and tries again with
//     back-off; MaxConns refuses or pauses by choice.
//   - L8: Shutdown stops accepting, lets the connections finish, and closes what is
//     left when its context ends; no goroutine and no descriptor is left behind.
//   - L9: blocking work goes to a bounded pool by Loop.Offload; its second half runs
//     on the loop.
//   - L10: Detach gives a connection back as a plain net.Conn, with the bytes read so
//     far.
package loop
