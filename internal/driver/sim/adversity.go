package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
)

// Adversity is what the drivers of a host do at random, of what the contract of internal/driver allows.
// The zero Adversity is nothing of it. Probabilities are from 0 to MaxProbability; the numbers come from
// the network's seed.
type Adversity struct {
	// AsyncSend has Send take nothing: a later turn reads the caller's memory, also after Release until
	// Released, and Sent reports how much was taken. io_uring and IOCP send like that.
	AsyncSend bool
	// AsyncConnect has Connect succeed and a later turn begin connecting, so that Connected reports all
	// errors.
	AsyncConnect bool
	// AsyncPackets has the driver send datagrams, as driver.PacketSender: it queues them, and a later
	// turn sends them. io_uring sends like that.
	AsyncPackets bool
	// PartialSends is the probability, for each attempt to send, that only a part of the bytes, or of
	// the queued datagrams, is sent though the socket has space for more.
	PartialSends float64
	// EmptySends is the probability that Sent reports 0 bytes though the socket has space. It needs
	// AsyncSend; without that, Sent always reports 0 bytes.
	EmptySends float64
	// PartialReceives is the probability, for each Received, that it has only a part of the bytes that
	// the driver could deliver.
	PartialReceives float64
	// LateBytes is how many bytes of a stream the driver receives before it delivers any, from 0 to
	// driver.MaxLateBytes. Those that it holds when receiving is stopped are delivered late, or after
	// Resume.
	LateBytes int
	// HeldAccepts is how many connections of a listener the driver accepts before it delivers any, from
	// 0 to MaxHeldAccepts. It holds them while accepting is paused.
	HeldAccepts int
	// Shuffle delivers the completions of different streams, listeners and sources in random order.
	Shuffle bool
	// Delays is the probability that a completion, or beginning an operation, is left to the next turn.
	Delays float64
	// DelayedReleases is the probability, for each turn, that a stream is not yet released.
	DelayedReleases float64
	// EarlyTurns is the probability that a turn that would sleep returns earlier than it must, with
	// nothing to deliver.
	EarlyTurns float64
	// SpoilMemory overwrites the driver's memory as soon as Received has returned.
	SpoilMemory bool
}

const (
	// MaxProbability is the highest probability of what is decided again and again.
	MaxProbability = 0.9
	// MaxHeldAccepts is the highest HeldAccepts.
	MaxHeldAccepts = 64
	// maxEarly bounds how long a turn that returns early sleeps.
	maxEarly = time.Millisecond
)

// Validate returns an error that names a field that is out of range.
func (a *Adversity) Validate() error {
	for _, x := range []struct {
		name string
		p    float64
	}{
		{"PartialSends", a.PartialSends},
		{"EmptySends", a.EmptySends},
		{"PartialReceives", a.PartialReceives},
		{"Delays", a.Delays},
		{"DelayedReleases", a.DelayedReleases},
		{"EarlyTurns", a.EarlyTurns},
	} {
		if !(x.p >= 0 && x.p <= MaxProbability) { // NaN is neither
			return fmt.Errorf("sim: Adversity.%s is %v; it must be from 0 to %v", x.name, x.p, MaxProbability)
		}
	}
	if a.LateBytes < 0 || a.LateBytes > driver.MaxLateBytes {
		return fmt.Errorf("sim: Adversity.LateBytes is %d; it must be from 0 to %d", a.LateBytes, driver.MaxLateBytes)
	}
	if a.HeldAccepts < 0 || a.HeldAccepts > MaxHeldAccepts {
		return fmt.Errorf("sim: Adversity.HeldAccepts is %d; it must be from 0 to %d", a.HeldAccepts, MaxHeldAccepts)
	}
	return nil
}

// dice decides what happens. It is one of a driver, for its loop's goroutine.
type dice struct{ *rand.Rand }

// decide returns true with probability p. It uses no number if p is 0, so that an Adversity without a
// field runs as if the field did not exist.
func (d dice) decide(p float64) bool { return p > 0 && d.Float64() < p }

// part returns n, or with probability p a number from 1 to n. n must not be 0.
func (d dice) part(n int, p float64) int {
	if d.decide(p) {
		return 1 + d.IntN(n)
	}
	return n
}

// early returns how long a turn sleeps that may sleep for the timeout.
func (d dice) early(timeout time.Duration, p float64) time.Duration {
	if timeout == 0 || !d.decide(p) {
		return timeout
	}
	early := time.Duration(d.Int64N(int64(maxEarly)))
	if timeout > 0 {
		early = min(early, timeout)
	}
	return early
}
