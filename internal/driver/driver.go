// Package driver is the contract between a loop and the way it does I/O. It is made
// of completions: the loop starts an operation, and is called when it has ended, so
// it cannot tell whether the kernel told readiness or did the work itself.
//
// internal/driver/conformance is the one suite of all drivers.
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
//   - All methods but Wake are for the loop's goroutine. Upcalls come from inside
//     Turn, on that goroutine, and may call any method but Turn and Close. An
//     upcall never comes from inside another method, with one exception: a
//     PacketUpcalls.Released may come from inside Unbind.
//   - Turn runs in three phases: it submits what was started, waits, and makes the
//     upcalls of what has ended. It makes a bounded number of upcalls; what is left
//     comes with the next Turn, which then does not wait.
//   - Attach comes first for a stream that is connected, Connect for one that was
//     prepared (sock.go): one Connected follows, with what its ConnectError tells.
//     If they fail, the stream is not attached.
//   - Resume begins to receive and Pause stops it; after Pause, what was already received
//     may still come, at most MaxLateBytes. A stream receives nothing before the
//     first Resume.
//   - Received hands over bytes in memory of the driver's, valid until it returns.
//     A stream that has more than its budget comes again after others had their
//     turn; it may pass it by less than ScratchBytes. ReceiveEnded comes once, last,
//     with io.EOF or an error.
//   - Send takes what it can at once and says how much. If that is not all, one
//     Sent follows, with how many of the remaining bytes were taken (zero: try
//     again), or an error; until then their memory must not change, and Send must
//     not be called. SyncSend says whether bytes that Send did not take are left
//     alone until Sent: then their memory is free at once.
//   - An error of sending ends sending alone. What was received before is still handed
//     over: what the driver holds and what the kernel's receive buffer holds, in order,
//     then ReceiveEnded, with an error or, if sending has taken the only error there was,
//     with io.EOF. The same holds after Failed.
//   - Failed reports that the connection has failed in both directions (reset by the peer,
//     timed out by keep-alive) where nothing else would report it: the stream is paused, or
//     ReceiveEnded has come with io.EOF; or that the driver cannot serve it any more. It comes at most once, never after a ReceiveEnded
//     with another error, and whether the stream was ever resumed or not. It may come in
//     addition to an error of Send or Sent.
//   - Release ends all operations on a stream and closes its descriptor. Released
//     comes once, when the system is done with the stream's memory; nothing comes
//     after it, and nothing but Released after Release. A stream that was never
//     attached, or could not be, may be released as well.
//   - Bind begins to receive datagrams. Packets hands them over, MaxPackets at a time at
//     the most, in memory of the driver's, valid until it returns. A socket that has more
//     than its share comes again after others had their turn. What the kernel tells of
//     datagrams that were sent before (an ICMP error) is passed over.
//   - AwaitWritable follows a send of the socket that would have blocked: one Writable
//     follows. Unbind ends everything and closes the socket, also one that Bind refused.
//     Released comes once, from inside Unbind or from a later Turn: it is the one upcall
//     that may come from inside a method. Nothing but Released comes after Unbind, and
//     nothing comes after Released.
//   - An operation that cannot be started ends with an error by its upcall.
//   - Nothing is allocated once warm, but for a new stream.
type Driver interface {
	// Name is what POLLUX_BACKEND calls it, or what it is made of.
	Name() string

	Listen(l *Listener) error
	// PauseAccept stops accepting; connections wait in the backlog.
	PauseAccept(l *Listener)
	// ResumeAccept begins to accept again.
	ResumeAccept(l *Listener)
	// Unlisten stops for good and closes the listener, also one that Listen refused.
	Unlisten(l *Listener)

	Attach(s *Stream) error
	Connect(s *Stream) error
	Resume(s *Stream)
	Pause(s *Stream)
	Send(s *Stream, bufs [][]byte) (n int, err error)
	SyncSend() bool
	Release(s *Stream)
	// Detach ends all operations as Release does, but leaves the descriptor open:
	// when Released has come, it is the loop's. What the driver had received already
	// comes by Received before that, even if the stream is paused: no byte is lost. So does
	// an error, by ReceiveEnded, if the system would not tell it again.
	Detach(s *Stream)

	Bind(p *PacketSocket) error
	AwaitWritable(p *PacketSocket)
	Unbind(p *PacketSocket)

	// Watch tells of readiness of any source that is no stream, edge-triggered, until
	// Unwatch.
	Watch(w *Watch) error
	Unwatch(w *Watch)

	// Turn waits until timeout at the most; negative waits forever, zero not at all.
	Turn(timeout time.Duration) error
	// Wake makes Turn return, this one or the next. It may be called from any
	// goroutine; calls coalesce.
	Wake() error
	// Spin returns how Turn spins before it sleeps. It may be called from any goroutine.
	Spin() pollux.SpinStats
	// Close releases the driver. No stream, listener or watch may be left.
	Close() error
}

// MaxLateBytes is how much may still be received after Pause.
const MaxLateBytes = 256 << 10

// MaxPieces is how many slices one Send may take.
const MaxPieces = sys.MaxIovecs

// MaxPackets is how many datagrams one Packets hands over.
const MaxPackets = 64

// A PacketSender is a driver that sends a turn's datagrams better than a call for each
// socket would. Others have them sent by the socket's own methods.
//
// The datagrams of a socket leave in the order of the calls: of these methods, and of the
// socket's own where Queued was false when they were called.
type PacketSender interface {
	// SendPackets takes datagrams as sock.UDPSocket.WriteBatch does, to be sent with the
	// turn at the latest; their memory is free at once. It is for the loop's goroutine, inside
	// an upcall or between turns, or for another while the loop's waits for that one. Where
	// there is no room, the error is sock.ErrWouldBlock, and one Writable follows without
	// AwaitWritable. What the kernel refuses later is told by SendFailed.
	SendPackets(p *PacketSocket, ms []sock.Message) (n int, err error)
	// QueuePackets is SendPackets for any goroutine, at any time after Bind, where Queued is
	// true: it takes datagrams behind those that have not left yet. If there are none by
	// now, ok is false, and the socket's own methods send them.
	QueuePackets(p *PacketSocket, ms []sock.Message) (n int, err error, ok bool)
	// KeepPeer is for any goroutine, before the socket gets another peer, or none: what was sent
	// to the peer and has not left yet still goes there.
	KeepPeer(p *PacketSocket)
}

// StreamUpcalls is what a driver calls for a stream.
type StreamUpcalls interface {
	Connected(err error)
	// Received returns false to stop receiving, as Pause does.
	Received(b []byte) (more bool)
	ReceiveEnded(err error)
	Sent(n int, err error)
	// Failed reports that the connection has failed, with what: see Driver.
	Failed(err error)
	Released()
}

// Stream is a connection as a driver knows it; the loop embeds it in its own.
type Stream struct {
	sock.Stream
	Up StreamUpcalls

	// State is the driver's own.
	State
}

// State is what a driver keeps for a stream, listener or watch.
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
	// Accepted says that s, from Incoming, is connected, to Listener.Peer.
	Accepted(s *Stream)
	// AcceptFailed says that accepting has failed, such as for want of descriptors;
	// the driver has paused it.
	AcceptFailed(err error)
}

// Acceptor is a listening socket.
type Acceptor interface {
	pollux.Source
	AcceptInto(s *sock.Stream) error
	StopListening() error
	Close() error
}

// An AddressedAcceptor returns the peer's address with the connection. It is the only way to
// that of a peer that has reset it meanwhile.
type AddressedAcceptor interface {
	AcceptFrom(s *sock.Stream) (netip.AddrPort, error)
}

// Listener is a listening socket as a driver knows it.
type Listener struct {
	Acceptor
	Up ListenerUpcalls
	State
	Spare *Stream
	// Peer is, during Accepted, the address that accepting has returned; the zero AddrPort
	// where it returns none.
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

// PacketUpcalls is what a driver calls for a socket of datagrams.
type PacketUpcalls interface {
	Packets(ms []sock.Message)
	// Writable says that sending may be tried again.
	Writable()
	// SendFailed says that a datagram of n bytes that SendPackets took was not sent.
	SendFailed(n int, err error)
	// Released comes once, from inside Unbind or from a later Turn: the system is done with
	// the socket, and its address is free.
	Released()
}

// PacketSocket is a socket of datagrams as a driver knows it.
type PacketSocket struct {
	*sock.UDPSocket
	Up PacketUpcalls
	// Lately is how many datagrams the last look at the socket has brought.
	Lately int
	// Queued says that a PacketSender has datagrams that may not have left yet: what is sent
	// now has to be sent by it, or would overtake them.
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

// Config is what a driver is opened with.
type Config struct {
	// ScratchBytes is how large the memory is that one receive fills, or, of a driver with
	// several buffers for that, the most that one of them has.
	ScratchBytes int
	// BudgetBytes is how much one stream may receive before the others have their
	// turn.
	BudgetBytes int
	// BusyPoll is how long Turn asks the kernel before it sleeps; zero: as long as it pays
	// (internal/spin has the rule); negative: not at all.
	BusyPoll time.Duration
}
