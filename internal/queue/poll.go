package queue

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/gate"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/spin"
	"github.com/pollux-io/pollux/internal/sys"
)

// Forever, as the timeout of Wait, means no timeout.
const Forever time.Duration = -1

// A Poll is an event queue: it reports which of the sources registered with it
// are ready. All methods but Limit may be called from any goroutine at any time.
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
	virtual bool // sel is a selector.Virtual
	table   *selector.Table
	gate    gate.Gate
	sealed  chan struct{}

	wakes wakeQueue
	turn  atomic.Uint32 // alternates wakes and kernel events in Waits for one event
}

// New returns an empty Poll over sel, which it closes in the end. backend is its name.
func New(backend string, sel selector.Selector) *Poll {
	_, virtual := sel.(selector.Virtual)
	return &Poll{backend: backend, sel: sel, virtual: virtual, table: selector.NewTable(), sealed: make(chan struct{})}
}

// Backend returns the name of the backend in use.
func (q *Poll) Backend() string { return q.backend }

// Spin returns the statistics of spinning before a sleep.
func (q *Poll) Spin() spin.Stats { return q.sel.Spin() }

// WritableIsFree reports what the selector states: see selector.Selector.
func (q *Poll) WritableIsFree() bool { return q.sel.WritableIsFree() }

// Limit lowers the limits of the table, for tests: see selector.Table.Limit. It must be called
// before any other method.
func (q *Poll) Limit(generations uint64, slots uint32) { q.table.Limit(generations, slots) }

// Len returns the number of live registrations. Wakers do not count.
func (q *Poll) Len() int { return q.table.Len() }

// owner is a Poll as its sources see it: a handle.Owner.
type owner Poll

// Register adds the source of h to the Poll. Token is the caller's identifier of the
// registration, which its events carry.
func (q *Poll) Register(h *handle.Handle, token uint64, interest selector.Interest, trigger selector.Trigger) error {
	return q.withSource("register", h, func(fd sys.FD, reg handle.Registration) error {
		if err := validate(interest, trigger); err != nil {
			return err
		}
		if err := reg.CheckFree((*owner)(q)); err != nil {
			return err
		}
		switch {
		case sys.IsVirtual(fd) && !q.virtual:
			return fmt.Errorf("%w (it is on a simulated network, and only a loop on that network can watch it)", ErrNotPollable)
		case q.virtual && !sys.IsVirtual(fd):
			return fmt.Errorf("%w (it is one of the operating system, and a loop on a simulated network cannot watch it)", ErrNotPollable)
		}
		return q.add(h, fd, token, interest, trigger)
	})
}

// Reregister replaces the token, interest and trigger of a registration, and re-arms a Oneshot
// registration. If the selector returns an error, the registration has ended.
func (q *Poll) Reregister(h *handle.Handle, token uint64, interest selector.Interest, trigger selector.Trigger) error {
	return q.withSource("reregister", h, func(fd sys.FD, reg handle.Registration) error {
		if err := validate(interest, trigger); err != nil {
			return err
		}
		if err := reg.CheckOwned((*owner)(q)); err != nil {
			return err
		}
		return q.modify(h, fd, reg, token, interest, trigger)
	})
}

// Deregister ends a registration. After it returns, no Wait returns an event of it.
func (q *Poll) Deregister(h *handle.Handle) error {
	return q.withSource("deregister", h, func(fd sys.FD, reg handle.Registration) error {
		if err := reg.CheckOwned((*owner)(q)); err != nil {
			return err
		}
		h.Set(handle.Registration{})
		q.remove(fd, reg.Key)
		return nil
	})
}

// withSource runs f with the source of h locked and the Poll's kernel object kept open.
func (q *Poll) withSource(op string, h *handle.Handle, f func(sys.FD, handle.Registration) error) error {
	switch {
	case q == nil: // of the zero Registrator
		return &OpError{Op: op, Err: ErrClosed}
	case h == nil:
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
	if err := f(fd, reg); err != nil {
		return &OpError{Op: op, Source: describe(h, fd), Err: err}
	}
	return nil
}

func describe(h *handle.Handle, fd sys.FD) string {
	return fmt.Sprintf("%s (descriptor %d)", h.Kind(), fd)
}

func validate(interest selector.Interest, trigger selector.Trigger) error {
	if !interest.Valid() {
		return ErrNoInterest
	}
	if trigger&^selector.AnyTrigger != 0 {
		return ErrBadTrigger
	}
	return nil
}

func (q *Poll) add(h *handle.Handle, fd sys.FD, token uint64, interest selector.Interest, trigger selector.Trigger) error {
	key, err := q.table.Insert(token, interest)
	if err != nil {
		return queueError(err)
	}
	if err := q.sel.Add(fd, key, interest, trigger); err != nil {
		q.table.Remove(key)
		return queueError(err)
	}
	h.Set(handle.Registration{Owner: (*owner)(q), Key: key})
	return nil
}

func (q *Poll) modify(h *handle.Handle, fd sys.FD, reg handle.Registration, token uint64, interest selector.Interest, trigger selector.Trigger) error {
	// The table first: from here on, events with the old key are dropped. The kernel
	// reports the readiness again when it gets the new key.
	key, ok, err := q.table.Rekey(reg.Key, token, interest)
	if err != nil {
		return queueError(err)
	}
	if !ok {
		return ErrNotRegistered
	}
	old := reg.Key
	reg.Key = key
	h.Set(reg)
	if err := q.sel.Modify(fd, old, key, interest, trigger); err != nil {
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

// queueError converts a selector's error to the error of this package.
func queueError(err error) error {
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
