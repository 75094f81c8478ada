// Package driver is the contract between a loop and its I/O backend. The contract is
// completion-based: the loop starts an operation, and an upcall reports its completion, so
// the loop does not see whether the kernel reports readiness or does the I/O itself.
//
// internal/driver/conformance is the test suite that all drivers share.
//
// The other files are parts that several drivers share: indexes and generations (table.go), lists
// that keep the addresses of their entries (pages.go), and datagram sockets over a Poll (packets.go).
// A driver knows nothing of handlers, timers and queues of unsent bytes: these are the loop's.
package driver

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// A Driver does the I/O of one loop.
//
// The contract, for every driver:
//
//   - Only the loop's goroutine may call the methods, except Wake and Spin, which any
//     goroutine may call. Turn makes the upcalls, on the loop's goroutine; they may call any
//     method but Turn and Close. No other method makes an upcall, with one exception: Unbind
//     may call PacketUpcalls.Released.
//   - Turn runs in three phases: it submits the operations that were started, waits, and
//     makes the upcalls of those that have completed. It makes a bounded number of upcalls;
//     the next Turn makes the rest, and does not wait.
//   - Call Attach first for a connected stream, and Connect for a prepared one (sock.go).
//     After Connect, the driver calls Connected once, with the result that ConnectError
//     returns. If Attach or Connect returns an error, the stream is not attached.
//   - Resume starts receiving and Pause stops it. After Pause, up to MaxLateBytes that the
//     driver had already received may still be delivered. A stream receives nothing before
//     the first Resume.
//   - Received delivers bytes in the driver's memory, which is valid until Received returns.
//     A stream with more data than its budget continues after the other streams' turns; it
//     may exceed the budget by less than ScratchBytes. ReceiveEnded comes once, after the
//     last Received, with io.EOF or an error.
//   - Send takes as many bytes as it can without waiting and returns their number. If it did
//     not take all, Sent follows once, with how many of the remaining bytes were taken (zero:
//     try again), or an error. Until then the caller must not call Send, and must not change
//     the memory of the remaining bytes unless SyncSend returns true: such a driver does not
//     access it after Send has returned.
//   - A send error ends sending only. Data received before is still delivered: first what the
//     driver holds, then what the kernel's receive buffer holds. Then comes ReceiveEnded, with
//     an error, or with io.EOF if the send has consumed the only error. The same holds after
//     Failed.
//   - Failed reports that the connection has failed in both directions (reset by the peer,
//     timed out by keep-alive) where no other upcall would report it: the stream is paused, or
//     ReceiveEnded has reported io.EOF. It also reports that the driver cannot serve the stream
//     any more. It comes at most once, never after a ReceiveEnded with an error other than
//     io.EOF, and also for a stream that was never resumed. It may come in addition to an
//     error of Send or Sent.
//   - Release ends all operations on a stream and closes its descriptor. Released comes once,
//     when the system no longer uses the stream's memory. It is the only upcall after Release,
//     and the last one. Release also takes a stream that was never attached, or that Attach or
//     Connect refused.
//   - Bind starts receiving datagrams. Packets delivers them, at most MaxPackets at a time, in
//     the driver's memory, which is valid until Packets returns. A socket that has more than
//     its budget continues after the other sockets' turns. Errors that the kernel reports
//     about datagrams sent earlier (ICMP errors) are ignored.
//   - Call AwaitWritable after a send on the socket would have blocked: Writable follows once.
//     Unbind ends all operations and closes the socket, also one that Bind refused. Released
//     comes once, from inside Unbind or from a later Turn. It is the only upcall after Unbind,
//     and the last one.
//   - If an operation cannot be started, its upcall reports the error.
//   - In the steady state only a new stream allocates memory.
type Driver interface {
	// Name returns the driver's name in POLLUX_BACKEND, or that of the backend it uses.
	Name() string

	Listen(l *Listener) error
	// PauseAccept stops accepting; connections stay in the backlog.
	PauseAccept(l *Listener)
	// ResumeAccept starts accepting again.
	ResumeAccept(l *Listener)
	// Unlisten stops accepting permanently and closes the listener, also one that Listen
	// refused.
	Unlisten(l *Listener)

	Attach(s *Stream) error
	Connect(s *Stream) error
	Resume(s *Stream)
	Pause(s *Stream)
	Send(s *Stream, bufs [][]byte) (n int, err error)
	SyncSend() bool
	Release(s *Stream)
	// Detach ends all operations as Release does, but leaves the descriptor open: the loop
	// owns it after Released. Before Released, Received delivers what the driver has already
	// received, even if the stream is paused, so that no byte is lost; and ReceiveEnded
	// reports an error that the system would not report again.
	Detach(s *Stream)

	Bind(p *PacketSocket) error
	AwaitWritable(p *PacketSocket)
	Unbind(p *PacketSocket)

	// Watch reports the readiness of any other source, edge-triggered, until Unwatch.
	Watch(w *Watch) error
	Unwatch(w *Watch)

	// Turn waits for at most timeout: forever if it is negative, not at all if it is zero.
	Turn(timeout time.Duration) error
	// Wake makes the current Turn return, or else the next one. Calls coalesce.
	Wake() error
	// Spin returns statistics of how Turn spins before it sleeps.
	Spin() pollux.SpinStats
	// Close releases the driver. There must be no stream, listener, socket or watch left.
	Close() error
}

// MaxLateBytes is how much may still be delivered after Pause.
const MaxLateBytes = 256 << 10

// MaxBuffers is how many slices one Send may take.
const MaxBuffers = sys.MaxIovecs

// MaxPackets is how many datagrams one call of Packets delivers at most.
const MaxPackets = 64

// A PacketSender is a driver that sends the datagrams of one turn more efficiently than with
// a system call for each socket. With other drivers, the socket's own methods send.
//
// The datagrams of a socket leave in the order of the calls, both of these methods and of the
// socket's own methods called while Queued was false.
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

// StreamUpcalls is what a driver calls for a stream.
type StreamUpcalls interface {
	Connected(err error)
	// Received returns false to stop receiving, as Pause does.
	Received(b []byte) (more bool)
	ReceiveEnded(err error)
	Sent(n int, err error)
	// Failed reports that the connection has failed with err: see Driver.
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

// ListenerUpcalls is what a driver calls for a listener.
type ListenerUpcalls interface {
	// Incoming returns a stream to accept into. The driver may keep it for as long as
	// it accepts.
	Incoming() *Stream
	// Accepted reports that s, returned by Incoming, is connected to Listener.Peer.
	Accepted(s *Stream)
	// AcceptFailed reports that accepting has failed, for example because the process is
	// out of file descriptors; the driver has paused accepting.
	AcceptFailed(err error)
}

// Acceptor is a listening socket.
type Acceptor interface {
	pollux.Source
	AcceptInto(s *sock.Stream) error
	StopListening() error
	Close() error
}

// An AddressedAcceptor returns the peer's address with the connection. If the peer has reset
// the connection since, there is no other way to get it.
type AddressedAcceptor interface {
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
	if a, ok := l.Acceptor.(AddressedAcceptor); ok {
		l.Peer, err = a.AcceptFrom(&l.Spare.Stream)
		return err
	}
	l.Peer = netip.AddrPort{}
	return l.AcceptInto(&l.Spare.Stream)
}

// PacketUpcalls is what a driver calls for a datagram socket.
type PacketUpcalls interface {
	Packets(ms []sock.Message)
	// Writable reports that sending may be tried again.
	Writable()
	// SendFailed reports that a datagram of n bytes that SendPackets took was not sent.
	SendFailed(n int, err error)
	// Released comes once, from inside Unbind or from a later Turn: the system no longer uses
	// the socket, and its address is free.
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
	Ready(ev pollux.Event)
}

// Watch is a source that a driver watches.
type Watch struct {
	Source pollux.Source
	Up     WatchUpcalls
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
