// Package loop runs protocol code over very many connections. A Group has a few loops, one for
// each processor; each Loop is one goroutine that owns its connections and waits for all of
// them in one system call. Protocol code implements Handler.
//
// NewGroup starts the loops. Group.Listen, Group.Dial and Group.Attach give them connections,
// Group.ListenPacket UDP sockets, and Loop.Watch other descriptors. Conn writes, Relay couples two
// connections, and a Fanout sends to many. Offload runs work that blocks, Loop.AfterFunc is a
// timer, and Group.Shutdown ends everything. Package frame finds messages in a stream of bytes.
//
// The package guarantees:
//
//   - L1: callbacks of one connection run one at a time, in order, on its loop;
//     Opened first, Closed once and last, with the reason. A panic in a callback
//     closes that connection with the panic as reason, and the loop goes on.
//   - L2: every method of Conn is safe from any goroutine and never blocks. On a
//     closed connection it returns ErrClosed; it never reaches another peer's socket.
//   - L3: Write takes all of b or, past the hard limit, nothing (ErrBufferFull).
//     Writes made during one turn of the loop are sent together. Nothing written is
//     lost or reordered: a peer that takes nothing for LingerTimeout while a connection
//     is being closed is reset. Close sends what is unsent, then FIN; CloseWrite
//     half-closes; Abort resets.
//   - L3b: nothing received is lost either. When sending fails, or the peer resets the
//     connection, what was received before is delivered to Data, in order, before Closed; a
//     paused handler gets it after Resume. If nothing is unread, Closed is called
//     immediately, even while paused. Conn.Context is canceled as soon as the peer is known
//     to be gone.
//   - L4: while the unsent bytes are above the high watermark, reading of an accepted
//     connection stops; at the low one it resumes and Drained is called. Reading of dialed
//     connections continues, so that two ends never wait for each other;
//     Conn.SetBackpressure overrides this, and Conn.SetWatermarks the numbers. Pause and Resume
//     control reading explicitly.
//   - L5: one busy connection takes at most its budget of bytes in one turn; functions of
//     Loop.Run and second halves of Offload take a millisecond together, and so do timers, and
//     the work of Fanouts and Group.Each. Listeners that wait for descriptors, or for a
//     connection below MaxConns, take turns.
//   - L6: timers are O(1) each, even with a million running, and never early.
//   - L7: a listener that is out of descriptors pauses and retries with back-off; at
//     MaxConns listeners pause or refuse, as configured.
//   - L8: Shutdown stops accepting, lets the connections finish, and closes the
//     rest when its context ends; no goroutine and no descriptor is left behind.
//   - L9: Offload runs blocking work in a bounded pool, and its second half on the loop, as a
//     callback of a connection or for itself, with a typed result and an error.
//   - L10: Detach turns a connection into a plain net.Conn, with the bytes read so far. Attach is
//     the inverse: it gives a net.Conn, and the bytes read so far, to a loop. So a connection may
//     move between package net and loops while both ends send: no byte is lost, repeated or
//     reordered.
//   - L11: a call that waits and takes a context returns when the context ends, whatever the
//     loops are doing, and undoes what it began. One that waits without a context does so
//     for a bounded time; only Group.Wait waits for the end of the group.
//   - L12: the datagrams of one socket leave in the order of the calls, on every driver, and each
//     datagram that arrives is delivered once, whatever the number of loops, broadcasts and
//     multicasts included.
//
// # Misuse
//
// A call with an invalid argument, such as a nil function or a value out of its range, returns
// at once, without any effect, an error that wraps ErrBadArgument and names the argument and its
// range. (Serve, ServeUnix and ServePacket own the socket even then, and close it.) A function
// without an error result panics instead, with a message that begins with "loop: ", such as
// AfterFunc without a function.
//
// A call that waits for the group's loops returns ErrOnLoop in a callback of that group. A call on
// what has ended, or is about to, returns an error that wraps ErrClosed.
//
// The zero values of Config, FanoutConfig and RelayConfig are valid. Those of Conn, Fanout, Group,
// Listener, Loop, PacketConn, PacketListener, Shared, Timer and Watch are not usable, nor are nil
// pointers to them: their methods may panic.
package loop

// For those who change the package. It has no I/O of its own (internal/driver), no timer wheel
// (internal/wheel), no buffers (internal/sendqueue, internal/unread, internal/block) and no pool of
// goroutines (internal/offload): it is the order in which connections, timers and requests of other
// goroutines get their turns. Read loop.go first, the turn of a loop; then conn.go and state.go.
// docs/architecture.md has the path of a byte. The rest by subject:
//
//   - a loop: inbox.go (requests of other goroutines, and when a loop may end), budget.go,
//     group.go and wait.go (start and shutdown), handover.go (a socket for a loop that may be in a
//     callback);
//   - how a connection begins: listener.go (internal/admission decides when it accepts), dial.go,
//     attach.go, adopt.go (one that was open before); addresses and a socket for each loop are
//     internal/hostport and internal/spread;
//   - an open connection: state.go (its phases), requests.go (what its methods ask of the loop),
//     upcalls.go (what its driver reports), handler.go, call.go (callbacks), receive.go, send.go,
//     pauses.go, backpressure.go, sockopt.go, extras.go (state that few connections need);
//   - its timeouts: timeouts.go, deadline.go, progress.go (whether the peer takes what is sent);
//   - how it ends: close.go, closereset.go, failing.go, detach.go;
//   - a relay of two connections: relay.go, relay_direction.go (how bytes move), relay_idle.go,
//     relay_to.go;
//   - one message for many connections: shared.go; fanout.go, fanout_member.go, fanout_part.go (its
//     delivery by one loop), fanout_join.go, fanout_write.go; each.go; task.go (how such work is
//     divided over turns);
//   - other sources: packet.go, packetoptions.go, watch.go;
//   - other work: timer.go, offload.go; onloop.go, activity.go and watchdog.go (callbacks that
//     would block, or do);
//   - settings, figures and errors: config.go, backend.go, keepalive.go, stats.go, log.go, errors.go;
//   - parts of several of these: context.go (Conn.Context), peers.go (addresses after a reset),
//     fifo.go (queues of the loop).
//
// A loop has ended when Loop.ended is closed. Only a goroutine that has received from it may read
// the loop's state: that the inbox refuses an op does not mean that the loop has ended.
