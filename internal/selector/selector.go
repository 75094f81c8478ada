// Package selector is the contract between the queue (the root package) and
// the kernel mechanisms that tell readiness, together with what all of them
// share: keys, the slot table that keeps them, and the event flags.
//
// Each backend is one folder beside this file and one line in the root
// package's backend table. internal/selector/conformance is their one suite.
package selector

import (
	"time"

	"github.com/pollux-io/pollux/internal/spin"
	"github.com/pollux-io/pollux/internal/sys"
)

// Interest says which readiness a registration asks for.
type Interest uint8

const (
	Readable Interest = 1 << iota
	Writable
	Priority

	AnyInterest = Readable | Writable | Priority
)

// Trigger says how often readiness is told. Zero is edge.
type Trigger uint8

const (
	Level Trigger = 1 << iota
	Oneshot

	AnyTrigger = Level | Oneshot
)

// Flags says what an event tells. The low bits are those of Interest.
type Flags uint8

const (
	ReadableFlag = Flags(Readable)
	WritableFlag = Flags(Writable)
	PriorityFlag = Flags(Priority)
)

const (
	ReadClosed Flags = 1 << (iota + 3)
	WriteClosed
	Error
	Closed
)

// Event is what a backend reports: which registration, and what about it.
type Event struct {
	Key   Key
	Flags Flags
}

// Config is what a backend is opened with.
type Config struct {
	// BusyPoll is how long Wait asks the kernel again and again before it
	// sleeps; zero: as long as it pays (see package spin); negative: not at all.
	BusyPoll time.Duration
	// BlockThread makes a sleeping Wait block its thread in the kernel where
	// the backend would rather park the goroutine.
	BlockThread bool
}

// A Selector is one kernel readiness queue.
//
// The contract, for every backend:
//
//   - All methods but Close may be called at once from any goroutines. The
//     caller sees to it that no descriptor is used in two calls of Add,
//     Modify and Delete at the same time, that a descriptor is open while it
//     is used in one, and that Close comes last, when no other call is
//     running.
//   - Add, Modify and Delete take effect at once, also for calls of Wait that
//     are asleep. Readiness that exists already when Add or Modify is called
//     is reported.
//   - After Modify(fd, old, new, …) events carry new. An event with old may
//     still be in a batch that another Wait has taken from the kernel, as may
//     one with a deleted key: the caller filters by key, so a backend need
//     not. A key is never used for a second registration.
//   - Edge: an event after each change from not ready to ready; further news
//     of the same readiness may be told or not. A direction counts as not
//     ready once a call on the descriptor would have blocked, or moved less
//     than was asked for; sources tell it by Blocked.
//     Level: an event from every Wait while the readiness lasts. Oneshot: one
//     event, then nothing until Modify. One edge, or one oneshot, is handed
//     to one call of Wait only.
//   - Errors and hang-ups are reported whatever the interest is. With them,
//     Readable and Writable are set too, so that a caller who acts on these
//     alone finds out; the caller of Wait masks them by interest.
//   - Wait returns n > 0 events; or 0 after timeout, never before it; or 0 at
//     any time, having been notified. Negative waits forever, zero does not
//     sleep. Interruptions by signals do not show.
//   - Errors from the kernel are returned as syscall.Errno, or wrap one.
//   - After an error of Add, fd is not registered. After an error of Modify it is
//     registered under new, but may be watched in part or not at all: the caller must
//     call Delete(fd, new), and must not ignore the error, or the source is deaf. A
//     failure that the backend can retry by itself is no error: after nil, whatever
//     was asked for is reported. An error of Delete means that the kernel had dropped
//     fd already; it can be ignored.
type Selector interface {
	// Add starts to watch fd. A second Add of the same fd is ErrExists, a
	// descriptor that has no readiness (a regular file) ErrNotPollable.
	Add(fd sys.FD, key Key, interest Interest, trigger Trigger) error
	Modify(fd sys.FD, old, key Key, interest Interest, trigger Trigger) error
	Delete(fd sys.FD, key Key) error

	// NeedsBlocked says whether sources must call Blocked.
	NeedsBlocked() bool
	// Blocked says that a call in the directions d on fd would have blocked.
	Blocked(fd sys.FD, key Key, d Interest)

	Wait(events []Event, timeout time.Duration) (int, error)

	// Notify makes one call of Wait return soon: one that is asleep, or else
	// the next that would go to sleep. Calls coalesce until then. After an error the
	// notice stands, but may not have reached a Wait that sleeps: the next Notify
	// tries again.
	Notify() error
	// NotifyAll makes every call of Wait, present and future, return soon.
	NotifyAll() error

	// Spin returns how Wait spins before it sleeps.
	Spin() spin.Stats

	Close() error
}
