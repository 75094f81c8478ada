package loop

import (
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
)

// A Fanout is a set of connections that get the same messages: the members of a chat room, the
// subscribers of a topic. Send gives a message to all of them at the cost of one request for each
// loop, and the message is in memory once. The connections may be of any loops and groups, and each
// may be a member of any number of Fanouts.
//
// A member gets each message whose Send was called after its Add had returned, and none whose Send
// had returned before its Add was called, up to Remove or its end: without gaps, except for those
// that it is too slow for (FanoutConfig.Slow), and in the same order as every other member; the
// messages of one goroutine in the order of its calls. A connection leaves by itself when it cannot
// be written to any more: after Close, CloseWrite, Detach or a failure, and at the latest before
// Closed is called.
//
// Messages are written between the callbacks of a member, so what one callback writes is not
// interrupted by them. What was written to a member before Send was called comes before the
// message; a write after Send may come before it too. Unsent messages count for back-pressure as
// other writes do. In each turn of a loop the deliveries may take a millisecond together, so that a
// large Fanout does not delay other connections.
//
// NewFanout makes a Fanout. All methods may be called from any goroutine, also in callbacks, and
// never block. A Fanout needs no Close: without members it holds nothing, and Send has no effect.
type Fanout struct {
	config FanoutConfig

	mu       sync.Mutex
	parts    []*fanoutPart // one for each loop that has members, or messages to deliver
	members  int
	messages uint64

	deliveries, skipped atomic.Uint64
}

// FanoutConfig configures a Fanout. The zero FanoutConfig is valid; each zero field means its
// default, and no number may be negative.
type FanoutConfig struct {
	// MaxUnsentBytes is how many bytes may be unsent by a member: one that would have more with a
	// message is slow, and does not get it. Config.MaxUnsentBytes of the member's group applies as
	// well, and is the default.
	MaxUnsentBytes int
	// Slow is called for each message that a slow member does not get, as a callback of that
	// connection: it may close the connection, remove it, or only note that it has missed s. The
	// default is AbortSlow.
	Slow func(c *Conn, s *Shared)
	// MaxPendingMessages and MaxPendingBytes limit what a loop has not written to all its members
	// yet: a Send that would exceed one of them on a loop is ErrQueueFull. 65,536 and 64 MiB.
	MaxPendingMessages, MaxPendingBytes int
}

// AbortSlow resets a slow member, with ErrSlow as the reason. It is the default of
// FanoutConfig.Slow.
func AbortSlow(c *Conn, _ *Shared) { c.AbortWith(ErrSlow) }

// SkipSlow leaves a slow member as it is: it misses the message, and FanoutStats.Skipped counts
// that. Use it as FanoutConfig.Slow where each message replaces the one before.
func SkipSlow(*Conn, *Shared) {}

// ErrSlow is the reason of a connection that AbortSlow has reset.
var ErrSlow = errors.New("too many bytes are unsent for another message of a Fanout; the peer does not read fast enough")

// refusedError is an error of Send, with a text of its own.
type refusedError struct {
	text string
	kind error
}

func (e *refusedError) Error() string { return e.text }
func (e *refusedError) Unwrap() error { return e.kind }

var (
	errMessageTooLarge = &refusedError{"the message has more bytes than the MaxUnsentBytes of a member, or than MaxPendingBytes; split it, or raise the limit", ErrTooLarge}
	errPendingFull     = &refusedError{"too many messages or bytes are pending; raise MaxPendingMessages or MaxPendingBytes, or send more only when members have got some", ErrQueueFull}
)

// FanoutStats are the counters of a Fanout since it was made, and its current state.
type FanoutStats struct {
	Members    int
	Messages   uint64 // messages that Send has taken
	Deliveries uint64 // messages written to members, one for each member and message
	Skipped    uint64 // messages that slow members did not get, counted in the same way
	// PendingMessages and PendingBytes are what has not been written to all members yet, summed over
	// the loops.
	PendingMessages, PendingBytes int
}

// NewFanout returns a Fanout without members. It panics if a field of config is negative.
func NewFanout(config FanoutConfig) *Fanout {
	for _, field := range []struct {
		name     string
		value    *int
		standard int
	}{
		{"MaxUnsentBytes", &config.MaxUnsentBytes, 0},
		{"MaxPendingMessages", &config.MaxPendingMessages, 64 << 10},
		{"MaxPendingBytes", &config.MaxPendingBytes, 64 << 20},
	} {
		if *field.value < 0 {
			panic(fmt.Sprintf("loop: NewFanout: %s is %d; it must not be negative", field.name, *field.value))
		}
		if *field.value == 0 {
			*field.value = field.standard
		}
	}
	if config.Slow == nil {
		config.Slow = AbortSlow
	}
	return &Fanout{config: config}
}

// Add makes c a member. If it is one already, Add has no effect. The error wraps ErrClosed if c
// cannot be written to any more, ErrNotOpen if its handshake with TLS has not ended, and
// ErrBadArgument if c is nil.
func (f *Fanout) Add(c *Conn) error {
	if c == nil {
		return fmt.Errorf("loop: add to fan-out: %w", errNil("a connection"))
	}
	if err := f.add(c); err != nil {
		return c.opError("add to fan-out", err)
	}
	return nil
}

// Remove ends the membership of c, and reports whether it was a member. When it has returned,
// nothing is written to c any more: messages that have not been written are dropped.
func (f *Fanout) Remove(c *Conn) bool { return c != nil && f.remove(c) }

// Len returns the number of members.
func (f *Fanout) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members
}

// All returns an iterator over the members, in no particular order: those at the time when the
// iteration begins.
func (f *Fanout) All() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, c := range f.snapshot() {
			if !yield(c) {
				return
			}
		}
	}
}

func (f *Fanout) snapshot() []*Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]*Conn, 0, f.members)
	for _, p := range f.parts {
		for _, m := range p.members {
			all = append(all, m.c)
		}
	}
	return all
}

// Send writes s to all members, soon; it does not wait. An empty Shared has no effect. If Send
// returns an error, no member gets s: ErrQueueFull if too much is pending (send again when
// FanoutStats.PendingBytes is less), ErrTooLarge if s has more bytes than can ever be sent to some
// member, or than MaxPendingBytes, and ErrBadArgument if s is nil or released.
func (f *Fanout) Send(s *Shared) error {
	if err := f.trySend(s); err != nil {
		return fmt.Errorf("loop: send to fan-out: %w", err)
	}
	return nil
}

// Stats returns the counters and the current state.
func (f *Fanout) Stats() FanoutStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := FanoutStats{Members: f.members, Messages: f.messages, Deliveries: f.deliveries.Load(), Skipped: f.skipped.Load()}
	for _, p := range f.parts {
		s.PendingMessages += p.unfinished
		s.PendingBytes += p.unfinishedBytes
	}
	return s
}
