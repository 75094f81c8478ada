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

// Forever, as the timeout of Wait, waits without an end.
const Forever time.Duration = -1

// maxWait is how many events one Wait hands out at the most.
const maxWait = 512

// A Poll is an event queue: it tells which of the sources registered with it
// are ready. All methods may be called from any goroutine at any time.
//
// Registrations live in a table of slots. The kernel carries a key, slot and
// generation, and an event whose key is no longer in the table is dropped.
//
// Closing: gate counts Register, Reregister, Deregister and Wake as Short, Wait
// as Long. Close shuts it and wakes everybody. When the last Short user has
// left, the table changes no more: sealed is closed, and Wait hands out what is
// left in the table, once, as Closed events. The last user of either kind
// releases the kernel object. docs/model/close.pml is checked exhaustively.
type Poll struct {
	backend string
	sel     selector.Selector
	table   *selector.Table
	gate    gate.Gate
	sealed  chan struct{}

	wakes   wakeQueue
	turn    atomic.Uint32 // whose turn it is when a Wait has room for one event
	scratch sync.Pool     // of *[maxWait]selector.Event
}

// A Source is what a Poll can watch: the sockets, pipes and descriptors of
// package sock. The method is for Pollux alone.
type Source interface {
	PollHandle() *handle.Handle
}

// New returns an empty Poll. The error is an *OpError: ErrBackend, ErrBadOption, or the
// kernel's for want of descriptors (EMFILE, ENFILE) or memory.
func New(options ...Option) (*Poll, error) {
	var c config
	for _, o := range options {
		err := fmt.Errorf("%w: one is nil", ErrBadOption)
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

// Backend returns the name of the kernel mechanism in use.
func (q *Poll) Backend() string { return q.backend }

// SpinStats is how the Waits of a Poll, or the turns of a loop, spin before they sleep.
type SpinStats struct {
	// Window is how long the next one spins at most; zero: it does not.
	Window time.Duration
	// Spins counts the spins, and Hits those that found an event.
	Spins, Hits uint64
	// Time is how long all of them took.
	Time time.Duration
}

// Spin returns how the Waits of this Poll spin before they sleep; see BusyPoll.
func (q *Poll) Spin() SpinStats { return SpinStats(q.sel.Spin()) }

// Len returns how many registrations are live, wakers not counted.
func (q *Poll) Len() int { return q.table.Len() }

// Registrator returns the queue's end for those who register sources.
func (q *Poll) Registrator() Registrator { return Registrator{q} }

// A Registrator registers sources with its Poll. It is a small value; copies
// are alike. It may be used from any goroutine, also while others wait.
type Registrator struct{ q *Poll }

// owner is Poll as sources see it.
type owner Poll

// Register begins to watch src: from now on Wait hands out events that carry
// token. Readiness that exists already is told. A Wait that sleeps takes part at
// once.
//
// The error is an *OpError with ErrClosed, ErrRegistered, ErrOtherPoll,
// ErrNotPollable, ErrSourceClosed, ErrNoInterest, ErrBadTrigger, ErrTooMany, or
// the kernel's: ENOSPC on Linux means the limit in
// /proc/sys/fs/epoll/max_user_watches.
func (r Registrator) Register(src Source, token Token, interest Interest, trigger Trigger) error {
	return r.q.on("register", src, func(h *handle.Handle, fd sys.FD, reg handle.Registration) error {
		if err := check(interest, trigger); err != nil {
			return err
		}
		switch {
		case reg.Owner == (*owner)(r.q):
			return ErrRegistered
		case reg.Owner != nil && !reg.Owner.Ended():
			return ErrOtherPoll
		}
		return r.q.add(h, fd, token, interest, trigger)
	})
}

// Reregister replaces token, interest and trigger of a registration, and makes
// a Oneshot one that has fired tell again. Readiness that exists is told anew;
// what was found under the old terms and not yet handed out is dropped.
//
// The error is an *OpError as from Register, or with ErrNotRegistered.
func (r Registrator) Reregister(src Source, token Token, interest Interest, trigger Trigger) error {
	return r.q.on("reregister", src, func(h *handle.Handle, fd sys.FD, reg handle.Registration) error {
		if err := check(interest, trigger); err != nil {
			return err
		}
		if err := r.q.owns(reg); err != nil {
			return err
		}
		return r.q.modify(h, fd, reg, token, interest, trigger)
	})
}

// Deregister ends a registration. Once it has returned, no Wait hands out an
// event of it. An event that a Wait handed out before may still be in somebody's
// hands. Closing a source deregisters it by itself.
//
// The error is an *OpError with ErrClosed (the registration is told by its Closed
// event), ErrNotRegistered, ErrOtherPoll or ErrSourceClosed.
func (r Registrator) Deregister(src Source) error {
	return r.q.on("deregister", src, func(h *handle.Handle, fd sys.FD, reg handle.Registration) error {
		if err := r.q.owns(reg); err != nil {
			return err
		}
		h.Set(handle.Registration{})
		r.q.remove(fd, reg.Key)
		return nil
	})
}

// on runs f with the source locked and the queue kept open.
func (q *Poll) on(op string, src Source, f func(*handle.Handle, sys.FD, handle.Registration) error) error {
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

func check(interest Interest, trigger Trigger) error {
	if interest == 0 || interest&^Interest(selector.AnyInterest) != 0 {
		return ErrNoInterest
	}
	if trigger&^Trigger(selector.AnyTrigger) != 0 {
		return ErrBadTrigger
	}
	return nil
}

func (q *Poll) owns(reg handle.Registration) error {
	switch reg.Owner {
	case (*owner)(q):
		return nil
	case nil:
		return ErrNotRegistered
	}
	return ErrOtherPoll
}

func (q *Poll) add(h *handle.Handle, fd sys.FD, token Token, interest Interest, trigger Trigger) error {
	key, err := q.table.Insert(uint64(token), selector.Interest(interest))
	if err != nil {
		return misuse(err)
	}
	if err := q.sel.Add(fd, key, selector.Interest(interest), selector.Trigger(trigger)); err != nil {
		q.table.Remove(key)
		return misuse(err)
	}
	h.Set(handle.Registration{Owner: (*owner)(q), Key: key})
	return nil
}

func (q *Poll) modify(h *handle.Handle, fd sys.FD, reg handle.Registration, token Token, interest Interest, trigger Trigger) error {
	// The table first: what the kernel tells under the old key is dropped from
	// here on, and told again when it learns the new one.
	key, ok, err := q.table.Rekey(reg.Key, uint64(token), selector.Interest(interest))
	if err != nil {
		return misuse(err)
	}
	if !ok {
		return ErrNotRegistered
	}
	old := reg.Key
	reg.Key = key
	h.Set(reg)
	if err := q.sel.Modify(fd, old, key, selector.Interest(interest), selector.Trigger(trigger)); err != nil {
		// The kernel knows the old key, if any: the registration would be deaf.
		h.Set(handle.Registration{})
		q.remove(fd, key)
		return fmt.Errorf("%w; the source is not registered any more", err)
	}
	return nil
}

func (q *Poll) remove(fd sys.FD, key selector.Key) {
	// The table first: from here on, what the kernel still has is stale. An
	// error of Delete would mean that the kernel has dropped it by itself.
	q.table.Remove(key)
	q.sel.Delete(fd, key)
}

// misuse gives a backend's error the name that the root package has for it.
func misuse(err error) error {
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

// Release implements handle.Owner for a source that is being closed. After Close
// there is nothing to do: the registration gets its Closed event.
func (o *owner) Release(fd sys.FD, key selector.Key) {
	q := (*Poll)(o)
	if !q.gate.Enter(gate.Short) {
		return
	}
	defer q.leave(gate.Short)
	q.remove(fd, key)
}

// WantsBlocked implements handle.Owner.
func (o *owner) WantsBlocked() bool { return (*Poll)(o).sel.NeedsBlocked() }

// Ended implements handle.Owner.
func (o *owner) Ended() bool { return o.gate.Closed() }

// Blocked implements handle.Owner.
func (o *owner) Blocked(fd sys.FD, key selector.Key, d selector.Interest) {
	q := (*Poll)(o)
	if !q.gate.Enter(gate.Short) {
		return
	}
	defer q.leave(gate.Short)
	q.sel.Blocked(fd, key, d)
}
