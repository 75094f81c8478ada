// Package selector defines the contract between the queue (package queue) and the kernel mechanisms that
// report readiness, and holds what all backends share: keys, the slot table that keeps them,
// and the event flags. It makes no system call. Read Selector first, then Table.
//
// Each backend is one directory beside this file and one line in
// package queue's list of backends.
// internal/selector/conformance is the test suite that every backend passes.
//
// # Keys, and why no event is stale
//
// A key is a slot of the table and the slot's generation. Ending or changing a registration
// increments the generation, by one atomic store, before it calls the kernel; the last thing
// that a queue's Wait does with an event is to look its key up. So once Deregister has returned,
// no Wait delivers an event of that registration, even from a batch that the kernel had filled
// before; and the descriptor's number does not matter, for it is not part of the key. A change
// allocates a new key too: the kernel reports existing readiness again under the new one, and
// events under the old one are dropped, so no two waiters hold events of one oneshot registration.
//
// A generation counter that wraps would break this, so none wraps: a slot whose generations are
// used up is retired, and no key is used twice in the life of a table.
//
// The look-up cannot revoke an event that was delivered already: a Wait that looked it up before
// Deregister began cannot be distinguished from one whose caller is already handling the event.
package selector

import (
	"time"

	"github.com/pollux-io/pollux/internal/spin"
	"github.com/pollux-io/pollux/internal/sys"
)

// Interest is the set of directions whose readiness a registration asks for.
type Interest uint8

const (
	Readable Interest = 1 << iota
	Writable
	Priority

	AnyInterest = Readable | Writable | Priority
)

// Valid reports whether i has at least one direction and no unknown bits.
func (i Interest) Valid() bool { return i != 0 && i&^AnyInterest == 0 }

// Trigger selects how often readiness is reported.
type Trigger uint8

// Edge is the zero Trigger.
const Edge Trigger = 0

const (
	Level Trigger = 1 << iota
	Oneshot

	AnyTrigger = Level | Oneshot
)

// Flags is what an event reports. The low bits are those of Interest.
type Flags uint8

const (
	ReadableFlag = Flags(Readable)
	WritableFlag = Flags(Writable)
	PriorityFlag = Flags(Priority)
)

const (
	ReadClosed Flags = 1 << (iota + 3)
	WriteClosed
	Failed
	Closed
)

// For returns the flags without the readiness of directions that the interest does not include.
// Errors and hang-ups stay.
func (f Flags) For(i Interest) Flags { return f &^ Flags(AnyInterest&^i) }

// Readable reports whether a read or an accept should be tried.
func (f Flags) Readable() bool { return f&ReadableFlag != 0 }

// Writable reports whether a write should be tried.
func (f Flags) Writable() bool { return f&WritableFlag != 0 }

// Priority reports whether urgent data has arrived.
func (f Flags) Priority() bool { return f&PriorityFlag != 0 }

// ReadClosed reports whether the peer has closed its sending side, or this side has shut down
// reading.
func (f Flags) ReadClosed() bool { return f&ReadClosed != 0 }

// WriteClosed reports whether writes will fail from now on.
func (f Flags) WriteClosed() bool { return f&WriteClosed != 0 }

// Failed reports whether the source has an error.
func (f Flags) Failed() bool { return f&Failed != 0 }

// Closed reports whether the queue was closed while the registration was live.
func (f Flags) Closed() bool { return f&Closed != 0 }

// Event is a registration and its readiness. A backend sets Key and Flags; the queue then looks
// up the Token of the registration.
type Event struct {
	Key   Key
	Token uint64
	Flags
}

// Config holds the options with which a backend is opened.
type Config struct {
	// BusyPoll is how long Wait polls the kernel before it sleeps; zero: as long
	// as spinning pays (see package spin); negative: not at all.
	BusyPoll time.Duration
	// BlockThread makes a sleeping Wait block its thread in the kernel, also
	// in a backend that parks the goroutine by default.
	BlockThread bool
}

// A Virtual selector is one for virtual descriptors (sys.Kernel) only. The other selectors are for
// those of the operating system only.
type Virtual interface{ VirtualOnly() }

// A Selector is one kernel readiness queue.
//
// The contract, for every backend:
//
//   - All methods but Close may be called concurrently. The caller ensures that
//     no descriptor is used in two concurrent calls of Add, Modify, Delete and
//     Rearm, that a descriptor stays open during such a call, and that Close is
//     called last, when no other call is running.
//   - Add, Modify and Delete take effect immediately, also for calls of Wait
//     that are asleep. Readiness that exists when Add or Modify is called is
//     reported.
//   - After Modify(fd, old, key, …) events carry key. An event with old may
//     still be in a batch that another Wait has taken from the kernel, as may
//     an event with a deleted key: the caller filters by key, a backend need
//     not. A key is never used for a second registration.
//   - Edge: an event after each change from not ready to ready. While the
//     direction stays ready, a backend may report further activity, such as
//     more bytes, by further events. A direction counts as not ready once a
//     call on the descriptor in this direction would have blocked, or
//     transferred less than was asked for, or failed: if NeedsRearm, the source
//     reports that by Rearm; otherwise the kernel knows.
//   - Level: an event from every Wait while the readiness lasts.
//   - Oneshot: one event, then none until Modify.
//   - An event that reports one change, or one of Oneshot, is returned by one
//     call of Wait only.
//   - Errors and hang-ups are reported whatever the interest is. Readable and
//     Writable are set with them, so that a caller who handles only these two
//     meets the error on its next call; the caller of Wait masks them by
//     interest.
//   - Wait returns n > 0 events; or 0 after timeout, never before it; or 0 at
//     any time, because of Notify or NotifyAll. A negative timeout is forever,
//     with zero it does not sleep. Wait does not return early when a signal
//     interrupts it.
//   - Errors from the kernel are returned as syscall.Errno, or wrap one.
//   - After an error of Add, fd is not registered. After an error of Modify it is
//     registered under key, but may be watched in part or not at all: the caller must
//     call Delete(fd, key) and must not ignore the error, or events of the source are
//     lost. A failure that the backend retries by itself is not an error: after nil,
//     all that was asked for is reported. An error of Delete means that the kernel had
//     dropped fd already; it can be ignored.
type Selector interface {
	// Add starts to watch fd. A second Add of the same fd returns ErrExists, a
	// descriptor that has no readiness (a regular file) ErrNotPollable.
	Add(fd sys.FD, key Key, interest Interest, trigger Trigger) error
	Modify(fd sys.FD, old, key Key, interest Interest, trigger Trigger) error
	Delete(fd sys.FD, key Key) error

	// NeedsRearm reports whether sources must call Rearm.
	NeedsRearm() bool
	// Rearm re-arms the edges of the directions d, which are not ready any more.
	// It has no effect if fd is not registered under key.
	Rearm(fd sys.FD, key Key, d Interest)

	// WritableIsFree reports whether an edge-triggered registration of a TCP stream for
	// Writable, once it has had its first event, gets another only after a send would have
	// blocked. Then it costs nothing to stay registered for Writable.
	WritableIsFree() bool

	Wait(events []Event, timeout time.Duration) (int, error)

	// Notify makes one call of Wait return soon: one that is asleep, or else
	// the next that would sleep. Until then further calls have no effect, unless
	// Notify has returned an error: then the notice is set, but a sleeping Wait
	// may not have been woken, and the next Notify tries again.
	Notify() error
	// NotifyAll makes every call of Wait, present and future, return soon.
	NotifyAll() error

	// Spin returns statistics of how Wait spins before it sleeps.
	Spin() spin.Stats

	Close() error
}
