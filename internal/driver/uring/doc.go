// Package uring is a driver on Linux's io_uring (io_uring(7)), from Linux 6.0 on. The
// kernel accepts and receives by itself, into buffers that all streams of a loop
// share, and one io_uring_enter(2) per turn submits operations and waits.
//
// It is used only if it is requested, by Config.Backend or POLLUX_BACKEND. A Poll has no such
// backend: sources other than streams and datagram sockets are in an epoll set that the ring
// polls. Read uring_linux.go first. The figures behind the decisions are in
// docs/performance.md.
//
// # One thread
//
// A ring has one issuer (SINGLE_ISSUER), so the driver locks the loop's goroutine to its thread
// from the first turn on. The kernel's part of the work runs only when that thread enters
// (DEFER_TASKRUN, Linux 6.1; COOP_TASKRUN before). How a turn waits is in sleep_linux.go.
//
// # Owners
//
// The user data of an operation is its kind and its owner's index. An owner has at most one
// operation of a kind, and its index is not reused before all of them have ended, so a completion
// is never matched to a wrong owner. Until then the owner also counts as a user of the descriptor:
// Release refuses new users, and the descriptor is closed after the last completion. Close waits
// for all operations, so that no listener's address stays in use by a ring that the kernel
// has not cleaned up yet.
//
// # Receiving
//
// A receive is multishot, into a pool of buffers outside Go's heap; one receive fills as many as
// it needs (IORING_RECVSEND_BUNDLE, Linux 6.10; before, the buffers are larger). Adjacent buffers
// are delivered as one slice, in place, and given back to the kernel. Changes of a turn that cancel each
// other out, Pause and Resume, never reach the kernel. A Unix stream's receive is not multishot: the
// kernel may miss the end of the stream then (receivesOnce).
//
// Bytes that may not be delivered, because the stream is paused or has used up its budget, are
// held. A stream with held bytes does not receive: its receive is cancelled, and started again when
// nothing is held. If more than half of the buffers are held, the bytes of paused streams are
// copied out. Streams that found no buffer continue as soon as there are some, in order, and each
// receives at most its budget (a limit of the receive, Linux 6.17; before, one buffer): a receive
// without a limit takes all available buffers, so a few busy streams would starve all others.
//
// # Sending
//
// A send, or a sendmsg of up to as many slices as the kernel takes, is submitted: all sends of a
// turn take one system call, except the answer to a turn's only completion. The memory belongs to the loop, in Go's heap, whose objects do not
// move; the driver refers to it until the completion. Nothing is sent by zero-copy, linked or
// bundled operations; send_linux.go and docs/performance.md have the reasons.
//
// Datagrams that a callback sends are copied into the queue of their socket, and leave with the
// turn; outgoing_linux.go has the order in which they do, and the bounds.
//
// # Accepting and connecting
//
// An accept is multishot. It takes all connections in the backlog, also those that arrive after
// PauseAccept: these wait in the driver, as they would in the backlog, and are reset if the
// listener is closed. A stream is connected by IORING_OP_CONNECT, except a Unix stream, whose
// connect never waits.
//
// # Failures without a receive
//
// Streams that were paused once, or whose peer has half-closed, are in the epoll set, too, for
// errors and hang-ups alone: while no receive is in flight, nothing else would report a
// reset (set_linux.go).
package uring
