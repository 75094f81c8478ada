// Package overlapped is the native driver of Windows: a loop's operations are
// overlapped ones, and a completion port tells that they have ended.
//
// # Receiving
//
// A stream that waits has a receive without memory in flight (WSARecv of no bytes),
// which ends when there is something. Then it is received without blocking into the
// loop's scratch, until there is no more or the budget is used up. A stream whose
// receives end again and again as soon as they are started is busy: its next receive
// is a real one, into a buffer lent from a bounded pool, which saves a call for each
// message. When such a receive has been in flight for idleAfter, the stream is idle: it
// is cancelled, and the buffer goes back. A cancelled receive may bring data all the
// same; it is handed over as any other.
//
// # Sending
//
// What is sent is first offered to the kernel by a call that does not block. What that
// does not take, up to maxSend, goes out by an overlapped WSASend of the loop's own
// memory, pinned until the completion: there is no copy, and Sent tells how it ended.
// So SyncSend is false.
//
// # Accepting and connecting
//
// A listener has acceptsInFlight calls of AcceptEx in flight, each with a socket
// prepared. A TCP stream is bound to any address and connected by ConnectEx, whose
// address stays in the stream's own memory until the completion. A Unix stream, and a
// TCP one of a provider that has no ConnectEx, is connected by a connect that does not
// block. Its end is learnt by a poll of AFD, and the stream joins the port then, so that
// no completion of Winsock's own connect can come there.
//
// # Watching
//
// Readiness of other sources is told by a pollux.Poll of the driver's own, over package
// afd's selector, whose polls complete on the driver's port under a key of their own:
// so there is one port, and one place to sleep.
//
// # Memory
//
// OVERLAPPEDs, addresses and receive buffers are off the Go heap. An operation's memory
// is used again when its completion has been taken from the port, and not before:
// cancelling does not end an operation, nor does closing the socket. A completion is
// known by the address of its OVERLAPPED. One that is none of the driver's own is
// dropped: see Detach.
//
// # Leaving a port
//
// A socket that a port has been joined to stays with it, and so do its duplicates, in
// other processes too. Detach takes it away by FileReplaceCompletionInformation, which
// Windows has since 8.1. Where that fails, as on Wine, the socket is left open and
// works, but for overlapped operations that wait at another port. The other way round,
// a stream that belongs to another port cannot be attached, and the error says so; a
// listener that does is served by readiness.
package overlapped
