// Package driver is the contract between a loop and its I/O backend. The contract is
// completion-based: the loop starts an operation, and an upcall reports its completion, so
// the loop does not see whether the kernel reports readiness or does the I/O itself.
//
// internal/driver/conformance is the test suite that all drivers share.
//
// The other files are parts that drivers share. All of them: what the next turn serves (base.go,
// turnqueue.go), flags of streams and listeners (flags.go), indexes and generations (table.go), lists
// that keep the addresses of their entries (pages.go). Those with a Poll: datagram sockets
// (packets.go) and watched sources (watches.go).
// A driver knows nothing of handlers, timers and queues of unsent bytes: these are the loop's.
package driver

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// A Driver does the I/O of one loop.
//
// The contract, for every driver:
//
// # Calls
//
//   - Only the loop's goroutine may call the methods, inside an upcall or between turns, except
//     Wake and Spin, which any goroutine may call. An upcall must not call Turn or Close.
//   - Only Turn makes upcalls, on the goroutine that calls it, with one exception: Unbind may
//     call PacketUpcalls.Released.
//   - A method without an error result cannot fail: if it cannot start its operation, the
//     operation's upcall reports the error, in a later turn.
//   - In the steady state only a new stream allocates memory.
//
// # Turns
//
//   - Turn has three phases. Submit: it starts and cancels the operations that were requested
//     since the last turn. Collect: it waits, and takes what has happened from the kernel.
//     Deliver: it makes the upcalls.
//   - A turn makes a bounded number of upcalls. The next one makes the rest, and does not wait.
//   - An error of Turn is permanent: the driver does no I/O any more. Upcalls of what has already
//     completed may still come, and Released does, unless the kernel keeps using the memory.
//   - An upcall may end the goroutine (runtime.Goexit), and Turn with it. Then another goroutine
//     calls Turn: it may fail, and upcalls may be lost, but Released comes, and none comes twice.
//
// # Streams
//
//   - A stream begins with Attach if it is connected, and with Connect if it is
//     prepared (stream.PrepareOnly). Connect begins connecting (stream.Stream.BeginConnect), or
//     starts an operation of the driver's own, whose result the driver records (RecordConnect).
//     Then Connected comes once, with the result that ConnectError returns; until then the caller
//     may call only Release and Detach. If Attach or Connect returns an error, the stream is not
//     attached, and only Release may follow.
//   - Resume starts receiving and Pause stops it, as does a Received that returns false. A stream
//     receives nothing before the first Resume. After receiving was stopped, up to MaxLateBytes
//     that the driver had already received may still be delivered.
//   - Received delivers bytes in the driver's memory, which is valid until Received returns, and
//     which the upcall may change. A
//     stream that has more than its budget continues after the other streams' turns; it may
//     exceed the budget by less than ScratchBytes.
//   - ReceiveEnded comes once, after the last Received, with io.EOF or an error, and only while
//     the stream is receiving.
//   - Send takes as many bytes as it can without waiting, and returns their number. If it did not
//     take all and returns no error, Sent follows once, with how many of the remaining bytes were
//     taken (zero: try again), or an error. Until then the caller must not call Send, and must
//     not change the memory of the remaining bytes unless SyncSend returns true: such a driver
//     does not access it after Send has returned.
//   - A send error ends sending only. What was received before is still delivered: first what the
//     driver holds, then what the kernel's receive buffer holds. Then comes ReceiveEnded, with an
//     error, or with io.EOF if the send has consumed the only error.
//   - Failed reports that the connection has failed in both directions (reset by the peer, timed
//     out by keep-alive) while no receive would find it: receiving is stopped, or ReceiveEnded
//     has reported io.EOF. It also comes for a stream that was never resumed, and in addition to
//     an error of Send or Sent. What was received before is delivered after Resume, as after a
//     send error.
//   - Failed also reports that the driver cannot serve the stream any more, even while it is
//     receiving. Then what was received before is delivered, but ReceiveEnded may not follow.
//   - Failed comes at most once, and never after a ReceiveEnded with an error other than io.EOF.
//   - Release ends all operations on a stream and closes its descriptor, also of one that was
//     never attached, or that Attach or Connect refused. Released comes once, from this turn or a
//     later one, when the system no longer uses the stream's memory. The only other upcall after
//     Release is Sent, before Released, if a Send was in flight and the kernel has taken bytes of it.
//   - Detach ends all operations as Release does, but leaves the descriptor open: the loop owns it
//     after Released. Before Released, Received delivers what the driver has already received,
//     even if the stream is paused, so that no byte is lost; and ReceiveEnded reports an error
//     that the system would not report again. No other upcall comes, except for Sent as after Release.
//
// # Listeners
//
//   - Listen starts accepting. Accepted reports each connection.
//   - PauseAccept stops accepting, and ResumeAccept starts it again. In between neither Accepted
//     nor AcceptFailed comes: connections stay in the backlog, or the driver holds those that
//     it has already accepted. AcceptFailed pauses accepting as PauseAccept does: it reports that
//     accepting has failed, for example because the process is out of file descriptors.
//   - Unlisten stops accepting permanently and closes the listener, also one that Listen refused.
//     Connections that were not delivered are reset. No upcall follows.
//
// # Datagram sockets
//
//   - Bind starts receiving. Packets delivers datagrams, at most MaxPackets at a time, in the
//     driver's memory, which is valid until Packets returns. A socket that has more than its
//     budget continues after the other sockets' turns. Errors that the kernel reports about
//     datagrams sent earlier (ICMP errors) are ignored.
//   - Call AwaitWritable after a send on the socket would have blocked: Writable follows once.
//   - Unbind ends all operations and closes the socket, also one that Bind refused. Released
//     comes once, from inside Unbind or from a later Turn, when the system no longer uses the
//     socket and its address is free. It is the only upcall after Unbind.
//
// # Other sources
//
//   - Watch reports the readiness of a source that Watch.Interest asks for, edge-triggered, by
//     Ready. Errors and hang-ups are always reported. After Unwatch, which may follow the source's
//     Close, no upcall comes.
type Driver interface {
	// Name returns the driver's name in POLLUX_BACKEND, or that of the backend it uses.
	Name() string

	Listen(l *Listener) error
	PauseAccept(l *Listener)
	ResumeAccept(l *Listener)
	Unlisten(l *Listener)

	Attach(s *Stream) error
	Connect(s *Stream) error
	Detach(s *Stream)
	StreamDriver

	Bind(p *PacketSocket) error
	AwaitWritable(p *PacketSocket)
	Unbind(p *PacketSocket)

	Watch(w *Watch) error
	Unwatch(w *Watch)

	// Turn waits for at most timeout: forever if it is negative, not at all if it is zero.
	Turn(timeout time.Duration) error
	// Wake makes the current Turn return, or else the next one. Calls coalesce. After Close it has
	// no effect, and may return an error.
	Wake() error
	// Spin returns statistics of how Turn spins before it sleeps.
	Spin() pollux.SpinStats
	// Close releases the driver. There must be no stream, listener, socket or watch left; the
	// operations of closed listeners that are still in flight end first.
	Close() error
}

// StreamDriver is the part of a Driver that serves streams that are connected.
type StreamDriver interface {
	Resume(s *Stream)
	Pause(s *Stream)
	Send(s *Stream, bufs [][]byte) (n int, err error)
	// SyncSend reports whether the driver does not access a Send's memory after Send has returned.
	SyncSend() bool
	// SendBlocked reports whether the Send in flight, whose Sent is still to come, waits for the peer
	// to receive: the kernel takes no more. Otherwise Sent comes within a few turns, whatever the
	// peer does: the driver has yet to pass the bytes to the kernel, or to report that it has.
	SendBlocked(s *Stream) bool
	Release(s *Stream)
}

// MaxLateBytes is how much may still be delivered after receiving was stopped.
const MaxLateBytes = 256 << 10

// MaxBuffers is how many slices one Send may take.
const MaxBuffers = sys.MaxIovecs

// MaxPackets is how many datagrams one call of Packets delivers at most.
const MaxPackets = 64

// A PacketSender is a driver that sends the datagrams of one turn more efficiently than with
// a system call for each socket. With other drivers, the socket's own methods send.
//
// The datagrams of a socket leave in the order of the calls, both of these methods and of the
// socket's own methods called while Queued was false. What was taken is sent even if the socket is
// closed meanwhile: Unbind sends the rest, unless that would block.
type PacketSender interface {
	// SendPackets takes datagrams as sock.UDPSocket.WriteBatch does, and sends them by the
	// end of the turn; the caller may reuse their memory when it returns. The loop's goroutine
	// calls it, inside an upcall or between turns, or another goroutine while the loop's
	// waits for that one. If the queue is full, the error is sock.ErrWouldBlock, and one
	// Writable follows without AwaitWritable. SendFailed reports what the kernel refuses later.
	SendPackets(p *PacketSocket, ms []sock.Message) (n int, err error)
	// QueuePackets is SendPackets for any goroutine, at any time after Bind while Queued is
	// true: it puts datagrams behind the unsent ones. If nothing is unsent any more, ok is
	// false, and the caller sends with the socket's own methods.
	QueuePackets(p *PacketSocket, ms []sock.Message) (n int, err error, ok bool)
	// KeepPeer is called, by any goroutine, before the socket gets another peer, or none:
	// unsent datagrams to the current peer still go to it.
	KeepPeer(p *PacketSocket)
}

// A Binder is a driver that binds each stream to a kernel object of its own, for the life of the
// socket: it cannot serve a socket that belongs to another one, and its Attach returns an error.
// The sockets of package net on Windows do (handle.Adopted).
type Binder interface{ BindsStreams() }

// StreamUpcalls is what a driver calls for a stream; Driver defines when.
type StreamUpcalls interface {
	Connected(err error)
	// Received returns false to stop receiving, as Pause does.
	Received(b []byte) (more bool)
	ReceiveEnded(err error)
	Sent(n int, err error)
	Failed(err error)
	Released()
}

// Stream is the driver's part of a connection; the loop embeds it in its own type.
type Stream struct {
	sock.Stream
	Up StreamUpcalls

	// State belongs to the driver.
	State
}

// State is what a driver stores in a stream, listener, socket or watch.
type State struct {
	Index      uint32
	Generation uint32
	Flags      uint32
}

// ListenerUpcalls is what a driver calls for a listener; Driver defines when.
type ListenerUpcalls interface {
	// Incoming returns a stream to accept into. The driver may keep it, without a descriptor, for
	// the next connection; Unlisten drops it.
	Incoming() *Stream
	// Accepted reports that s, returned by Incoming, is connected to Listener.Peer.
	Accepted(s *Stream)
	AcceptFailed(err error)
}

// Acceptor is a listening socket.
type Acceptor interface {
	// A driver that accepts by an operation of its own applies stream.AcceptOptionsOf to the
	// connections.
	stream.Listener
	AcceptInto(s *sock.Stream) error
	StopListening() error
	Close() error
}

// A TCPAcceptor is an Acceptor of TCP connections.
type TCPAcceptor interface {
	Acceptor
	// AcceptFrom is AcceptInto that also returns the peer's address. If the peer has reset
	// the connection since, there is no other way to get it.
	AcceptFrom(s *sock.Stream) (netip.AddrPort, error)
}

// Listener is the driver's part of a listening socket.
type Listener struct {
	Acceptor
	Up ListenerUpcalls
	State
	Spare *Stream // from Incoming, to accept into next
	// Peer is valid during Accepted: the address that accepting returned, or the zero
	// AddrPort if it returned none.
	Peer netip.AddrPort
}

// AcceptSpare accepts into Spare, and sets Peer.
func (l *Listener) AcceptSpare() (err error) {
	if a, ok := l.Acceptor.(TCPAcceptor); ok {
		l.Peer, err = a.AcceptFrom(&l.Spare.Stream)
		return err
	}
	l.Peer = netip.AddrPort{}
	return l.AcceptInto(&l.Spare.Stream)
}

// PacketUpcalls is what a driver calls for a datagram socket; Driver defines when.
type PacketUpcalls interface {
	Packets(ms []sock.Message)
	// Writable reports that sending may be tried again.
	Writable()
	// SendFailed reports that a datagram of n bytes that SendPackets took was not sent.
	SendFailed(n int, err error)
	Released()
}

// PacketSocket is the driver's part of a datagram socket.
type PacketSocket struct {
	*sock.UDPSocket
	Up PacketUpcalls
	// LastBatch is how many datagrams the last read of the socket returned.
	LastBatch int
	// Queued is true while a PacketSender may hold unsent datagrams: it must send further ones
	// too, or they would overtake those.
	Queued atomic.Bool
	State
}

// WatchUpcalls is what a driver calls for a watched source.
type WatchUpcalls interface {
	Ready(f selector.Flags)
}

// Watch is a source that a driver watches.
type Watch struct {
	Source   pollux.Source
	Interest selector.Interest // valid, and unchanged until Unwatch
	Up       WatchUpcalls
	State
}

// Config configures a driver.
type Config struct {
	// ScratchBytes is the size of the receive buffer; for a driver with several, the largest
	// size of one.
	ScratchBytes int
	// BudgetBytes is how much one stream may receive before the other streams get their turn.
	BudgetBytes int
	// BusyPoll is how long Turn polls the kernel before it sleeps; zero: as long as it pays
	// (internal/spin has the rule); negative: not at all.
	BusyPoll time.Duration
}
