package pollux

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/gate"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// Forever, as the timeout of Wait, means no timeout.
const Forever time.Duration = -1

// maxWait is the maximum number of events that one Wait returns.
const maxWait = 512

// A Poll is an event queue: it reports which of the sources registered with it
// are ready. All methods may be called from any goroutine at any time.
//
// Registrations are kept in a table of slots. The kernel stores a key, which is slot
// and generation; an event whose key is not in the table is dropped.
//
// Closing: gate counts Register, Reregister, Deregister and Wake as Short users and
// Wait as a Long user. Close closes the gate and wakes every waiter. When the last
// Short user has left, the table no longer changes: sealed is closed, and Wait returns
// each remaining registration once, as a Closed event. The last user of either class
// releases the kernel object. docs/model/close.pml models this; the model is checked
// exhaustively.
type Poll struct {
	backend string
	sel     selector.Selector
	table   *selector.Table
	gate    gate.Gate
	sealed  chan struct{}

	wakes   wakeQueue
	turn    atomic.Uint32 // alternates wakes and kernel events in Waits for one event
	scratch sync.Pool     // of *[maxWait]selector.Event
}

// A Source can be registered with a Poll. The sockets, pipes and descriptors of
// package sock are sources. The method is for internal use.
type Source interface {
	PollHandle() *handle.Handle
}

// New returns an empty Poll. The error is an *OpError with ErrBackend, ErrBadOption, or
// the kernel's error, such as EMFILE, ENFILE or ENOMEM.
func New(options ...Option) (*Poll, error) {
	var c config
	for _, o := range options {
		err := fmt.Errorf("%w: the option is nil", ErrBadOption)
		if o != nil {
			err = o(&c)
		}
		if err != nil {
			return nil, &OpError{Op: "new", Err: err}
		}
	}
	b, err := choose(c.backend)
	if err != nil {
		return nil, &OpError{Op: "new", Err: err}
	}
	sel, err := b.open(selector.Config{BusyPoll: c.busyPoll, BlockThread: c.blockThread})
	if err != nil {
		return nil, &OpError{Op: "new", Err: fmt.Errorf("%s: %w", b.name, err)}
	}
	return newPoll(b.name, sel), nil
}

func newPoll(backend string, sel selector.Selector) *Poll {
	q := &Poll{backend: backend, sel: sel, table: selector.NewTable(), sealed: make(chan struct{})}
	q.scratch.New = func() any { return new([maxWait]selector.Event) }
	return q
}

// Backend returns the name of the backend in use.
func (q *Poll) Backend() string { return q.backend }

// SpinStats has the statistics of spinning before a sleep, by the Waits of a Poll or the
// turns of a loop.
type SpinStats struct {
	// Window is the longest time for which the next spin may last; zero means that it
	// does not spin.
	Window time.Duration
	// Spins counts the spins, and Hits those that found an event.
	Spins, Hits uint64
	// Time is the total time spent spinning.
	Time time.Duration
}

// Spin returns the spin statistics of this Poll; see BusyPoll.
func (q *Poll) Spin() SpinStats { return SpinStats(q.sel.Spin()) }

// Len returns the number of live registrations. Wakers do not count.
func (q *Poll) Len() int { return q.table.Len() }

// Registrator returns a Registrator for this Poll.
func (q *Poll) Registrator() Registrator { return Registrator{q} }

// A Registrator registers sources with its Poll. It is a small value; copies are
// equivalent. It may be used from any goroutine, also while other goroutines wait.
type Registrator struct{ q *Poll }

// owner is a Poll as its sources see it: a handle.Owner.
type owner Poll

// Register adds src to the Poll: Wait then returns events for src that carry token.
// Readiness that exists already is reported. A Wait that is asleep sees the new source
// immediately.
//
// The error is an *OpError with ErrClosed, ErrRegistered, ErrOtherPoll,
// ErrNotPollable, ErrSourceClosed, ErrNoInterest, ErrBadTrigger, ErrTooMany, or
// the kernel's: ENOSPC on Linux means the limit in
// /proc/sys/fs/epoll/max_user_watches.
func (r Registrator) Register(src Source, token Token, interest Interest, trigger Trigger) error {
	return r.q.withSource("register", src, func(h *handle.Handle, fd sys.FD, reg handle.Registration) error {
		if err := validate(interest, trigger); err != nil {
			return err
		}
		if err := reg.CheckFree((*owner)(r.q)); err != nil {
			return err
		}
		return r.q.add(h, fd, token, interest, trigger)
	})
}

// Reregister replaces the token, interest and trigger of a registration, and re-arms a
// Oneshot registration. Readiness that exists is reported again; events of the old
// registration that no Wait has returned yet are dropped.
//
// The error is an *OpError as from Register, or with ErrNotRegistered.
func (r Registrator) Reregister(src Source, token Token, interest Interest, trigger Trigger) error {
	return r.q.withSource("reregister", src, func(h *handle.Handle, fd sys.FD, reg handle.Registration) error {
		if err := validate(interest, trigger); err != nil {
			return err
		}
		if err := reg.CheckOwned((*owner)(r.q)); err != nil {
			return err
		}
		return r.q.modify(h, fd, reg, token, interest, trigger)
	})
}

// Deregister ends a registration. After it returns, no Wait returns an event of the
// registration; another goroutine may still be handling one that was returned before.
// Closing a source deregisters it.
//
// The error is an *OpError with ErrClosed (the registration still gets its Closed
// event), ErrNotRegistered, ErrOtherPoll or ErrSourceClosed.
func (r Registrator) Deregister(src Source) error {
	return r.q.withSource("deregister", src, func(h *handle.Handle, fd sys.FD, reg handle.Registration) error {
		if err := reg.CheckOwned((*owner)(r.q)); err != nil {
			return err
		}
		h.Set(handle.Registration{})
		r.q.remove(fd, reg.Key)
		return nil
	})
}

// withSource runs f with the source locked and the Poll's kernel object kept open.
func (q *Poll) withSource(op string, src Source, f func(*handle.Handle, sys.FD, handle.Registration) error) error {
	h := handle.Of(src)
	if h == nil {
		return &OpError{Op: op, Err: errNoSource}
	}
	fd, reg, err := h.Lock()
	if err != nil {
		return &OpError{Op: op, Source: h.Kind().String(), Err: ErrSourceClosed}
	}
	defer h.Unlock()
	if !q.gate.Enter(gate.Short) {
		return &OpError{Op: op, Source: describe(h, fd), Err: ErrClosed}
	}
	defer q.leave(gate.Short)
	if err := f(h, fd, reg); err != nil {
		return &OpError{Op: op, Source: describe(h, fd), Err: err}
	}
	return nil
}

func describe(h *handle.Handle, fd sys.FD) string {
	return fmt.Sprintf("%s (descriptor %d)", h.Kind(), fd)
}

func validate(interest Interest, trigger Trigger) error {
	if interest == 0 || interest&^Interest(selector.AnyInterest) != 0 {
		return ErrNoInterest
	}
	if trigger&^Trigger(selector.AnyTrigger) != 0 {
		return ErrBadTrigger
	}
	return nil
}

func (q *Poll) add(h *handle.Handle, fd sys.FD, token Token, interest Interest, trigger Trigger) error {
	key, err := q.table.Insert(uint64(token), selector.Interest(interest))
	if err != nil {
		return publicError(err)
	}
	if err := q.sel.Add(fd, key, selector.Interest(interest), selector.Trigger(trigger)); err != nil {
		q.table.Remove(key)
		return publicError(err)
	}
	h.Set(handle.Registration{Owner: (*owner)(q), Key: key})
	return nil
}

func (q *Poll) modify(h *handle.Handle, fd sys.FD, reg handle.Registration, token Token, interest Interest, trigger Trigger) error {
	// The table first: from here on, events with the old key are dropped. The kernel
	// reports the readiness again when it gets the new key.
	key, ok, err := q.table.Rekey(reg.Key, uint64(token), selector.Interest(interest))
	if err != nil {
		return publicError(err)
	}
	if !ok {
		return ErrNotRegistered
	}
	old := reg.Key
	reg.Key = key
	h.Set(reg)
	if err := q.sel.Modify(fd, old, key, selector.Interest(interest), selector.Trigger(trigger)); err != nil {
		// The kernel has the old key or none, so the registration would get no events.
		h.Set(handle.Registration{})
		q.remove(fd, key)
		return fmt.Errorf("%w; the source is no longer registered", err)
	}
	return nil
}

func (q *Poll) remove(fd sys.FD, key selector.Key) {
	// The table first: from here on, events that the kernel still has are stale. An
	// error from Delete means that the kernel has already dropped the descriptor.
	q.table.Remove(key)
	q.sel.Delete(fd, key)
}

// publicError converts a backend's error to the error of this package.
func publicError(err error) error {
	switch {
	case errors.Is(err, selector.ErrExists):
		return ErrRegistered
	case errors.Is(err, selector.ErrNotPollable):
		return fmt.Errorf("%w (%w)", ErrNotPollable, err)
	case errors.Is(err, selector.ErrFull):
		return ErrTooMany
	}
	return err
}

// Release implements handle.Owner for a source that is being closed. After the Poll's
// Close it does nothing: the registration gets its Closed event.
func (o *owner) Release(fd sys.FD, key selector.Key) {
	q := (*Poll)(o)
	if !q.gate.Enter(gate.Short) {
		return
	}
	defer q.leave(gate.Short)
	q.remove(fd, key)
}

// NeedsRearm implements handle.Owner.
func (o *owner) NeedsRearm() bool { return (*Poll)(o).sel.NeedsRearm() }

// Ended implements handle.Owner.
func (o *owner) Ended() bool { return o.gate.Closed() }

// Rearm implements handle.Owner.
func (o *owner) Rearm(fd sys.FD, key selector.Key, d selector.Interest) {
	q := (*Poll)(o)
	if !q.gate.Enter(gate.Short) {
		return
	}
	defer q.leave(gate.Short)
	q.sel.Rearm(fd, key, d)
}
