package looptest

import "github.com/pollux-io/pollux/internal/driver/sim"

// Adversity is what loops meet at random, by the seed, of what a kernel may do: io_uring and IOCP
// complete operations later than epoll, in other orders and in other pieces. A handler does not have to
// know of it; it finds the mistakes of one that relies on what usually happens. The zero Adversity is
// like epoll. Probabilities are from 0 to MaxProbability.
type Adversity struct {
	// AsyncSend has writes take effect later: in the next turn of the loop or after it, instead of in
	// the call.
	AsyncSend bool
	// AsyncConnect has connecting begin in a later turn.
	AsyncConnect bool
	// AsyncPackets has datagrams leave later, too.
	AsyncPackets bool
	// PartialSends is how often only a part of the bytes, or of several datagrams, is sent though the socket has space for more.
	PartialSends float64
	// EmptySends is how often nothing is sent though the socket has space. It needs AsyncSend.
	EmptySends float64
	// PartialReceives is how often Data gets only a part of the bytes that have arrived.
	PartialReceives float64
	// LateBytes is how many bytes of a connection a loop receives before it calls Data, so that they are
	// held while the handler pauses. From 0 to 256 KiB.
	LateBytes int
	// HeldAccepts is how many connections of a listener a loop accepts before it serves any. From 0 to
	// 64.
	HeldAccepts int
	// Shuffle serves connections, listeners and other sources in random order in each turn.
	Shuffle bool
	// Delays is how often an event is left to the next turn.
	Delays float64
	// DelayedReleases is how often, in a turn, a closed connection is not yet released, so that its
	// descriptor stays open.
	DelayedReleases float64
	// EarlyTurns is how often a loop wakes for nothing.
	EarlyTurns float64
	// SpoilMemory overwrites the bytes that Data got, as soon as it has returned: a handler that keeps b
	// reads garbage.
	SpoilMemory bool
}

// MaxProbability is the highest probability in an Adversity.
const MaxProbability = sim.MaxProbability

// Adverse returns an Adversity of everything, each often enough to happen in a short test.
func Adverse() Adversity {
	return Adversity{
		AsyncSend: true, AsyncConnect: true, AsyncPackets: true, PartialSends: 0.3, EmptySends: 0.1, PartialReceives: 0.3,
		LateBytes: 16 << 10, HeldAccepts: 4, Shuffle: true, Delays: 0.1, DelayedReleases: 0.3, EarlyTurns: 0.1,
		SpoilMemory: true,
	}
}

func (a Adversity) validate() error { return (*sim.Adversity)(&a).Validate() }
