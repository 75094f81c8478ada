// Package overlapped is the native driver of Windows: a loop's operations are overlapped
// operations, and a completion port reports their completions.
//
// It is used only if it is requested, by Config.Backend or POLLUX_BACKEND: it has run under Wine,
// and not on Windows. A Poll has no such backend. Read overlapped_windows.go first.
//
// # Receiving
//
// An idle stream has a receive without memory in flight (WSARecv of no bytes), which
// completes when there is data. Then the driver reads without blocking into the loop's
// scratch buffer, until the socket is drained or the budget is used up. A stream whose
// receives repeatedly complete as soon as they are started is busy: its next receive has a
// buffer lent from a bounded pool, which saves a call for each message. When such a receive
// has been in flight for idleAfter, the stream is idle: the receive is cancelled, and the
// buffer goes back to the pool. A cancelled receive may still return data, which is delivered
// as usual.
//
// # Sending
//
// Send first makes a call that does not block. What that does not take, up to maxSend, is
// sent by an overlapped WSASend from the loop's own memory, which is pinned until the
// completion: nothing is copied, and Sent reports the result. So SyncSend is false, and
// callbacks write into blocks, not into the loop's staging buffer.
//
// # Accepting and connecting
//
// A listener has acceptsInFlight calls of AcceptEx in flight, each with a prepared socket. While
// it is paused they are cancelled, and it may hold as many connections. A TCP stream is bound to any address and connected by ConnectEx, whose address stays in
// the stream's own memory until the completion. A Unix stream, and a TCP stream of a
// provider that has no ConnectEx, is connected by a connect that does not block. A poll of
// AFD reports its end, and only then does the stream join the port, so that no completion of
// Winsock's own connect arrives there.
//
// # Watching
//
// A queue.Poll of the driver's own reports the readiness of other sources. It is over
// package afd's selector, whose polls complete on the driver's port with a key of their own:
// so there is one port, and one place to sleep. The driver takes all completions from the port
// and passes the selector's on (AddCompletion), which keeps them until its next Wait; the driver
// calls that without a timeout. A second port would need a thread that sleeps there and posts to
// the first; AFD polls in the driver would duplicate the selector.
//
// # Memory
//
// OVERLAPPEDs, addresses and receive buffers are off the Go heap. An operation's memory is
// reused only after its completion has been taken from the port: neither cancelling it nor
// closing the socket ends an operation. The address of its OVERLAPPED identifies a
// completion. A completion that does not belong to the driver is dropped: see Detach.
//
// # Leaving a port
//
// A socket that has joined a port stays with it, and so do its duplicates, also in other
// processes. Detach removes it with FileReplaceCompletionInformation, which exists since
// Windows 8.1. Where that fails, as on Wine, the socket stays open and works, except for
// overlapped operations that wait at another port. Conversely, a stream that belongs to
// another port cannot be attached, and the error says so; a listener that does is served by
// readiness.
package overlapped
