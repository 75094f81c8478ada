package queue

import (
	"time"

	"github.com/pollux-io/pollux/internal/gate"
	"github.com/pollux-io/pollux/internal/selector"
)

// Event is what Wait returns: the token of a registration or a waker, and flags. Key has no
// meaning then.
type Event = selector.Event

// MaxWait is the maximum number of events that one Wait returns.
const MaxWait = 512

// Wait waits until a source is ready or the timeout expires. It stores events in events and
// returns their number, at most MaxWait; the other elements have no meaning afterwards. It
// returns 0 and nil when the timeout expires. With a timeout of zero Wait does not block; with a
// negative one it does not time out.
//
// The error is an *OpError with ErrNoRoom, with ErrClosed after Close, once every registration
// has had its Closed event, or with the kernel's error.
func (q *Poll) Wait(events []Event, timeout time.Duration) (int, error) {
	if len(events) == 0 {
		return 0, &OpError{Op: "wait", Err: ErrNoRoom}
	}
	if !q.gate.Enter(gate.Long) {
		return q.drain(events)
	}
	n, err := q.wait(events, timeout)
	q.leave(gate.Long)
	if err != nil {
		return 0, &OpError{Op: "wait", Err: err}
	}
	if n == 0 && q.gate.Closed() {
		return q.drain(events)
	}
	return n, nil
}

// maxPolls bounds how often a Wait with a timeout of zero polls the kernel.
const maxPolls = 8

func (q *Poll) wait(events []Event, timeout time.Duration) (int, error) {
	events = events[:min(len(events), MaxWait)]
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	for polls := 1; ; polls++ {
		// Wakes must not starve kernel events, nor kernel events wakes: if events has
		// length 1, they alternate.
		n, found, now := 0, 0, timeout
		if q.wakes.any() {
			now = 0
			if len(events) > 1 || q.turn.Add(1)%2 == 0 {
				n = q.takeWakes(events)
			}
		}
		if n < len(events) {
			k, err := q.sel.Wait(events[n:], now)
			if err != nil && n == 0 {
				return 0, err
			} // else deliver the wakes already taken; the next Wait fails again
			n, found = n+q.resolve(events[n:n+k]), k
		}
		if n == 0 {
			n = q.takeWakes(events)
		}
		stale := found > 0 && polls < maxPolls // stale events may have displaced a valid one
		if n > 0 || timeout == 0 && !stale || q.gate.Closed() {
			return n, nil
		}
		if timeout > 0 {
			timeout = max(time.Until(deadline), 0)
		}
	}
}

// takeWakes moves pending wakes to events and returns their number. If some are left,
// it notifies another Wait.
func (q *Poll) takeWakes(events []Event) int {
	n, more := q.wakes.take(events)
	if more {
		q.notify()
	}
	return n
}

// resolve sets the tokens of a selector's events, and removes stale events and readiness that
// the registration did not ask for. It returns the number of events that are left.
func (q *Poll) resolve(events []Event) int {
	n := 0
	for i := range events {
		token, interest, ok := q.table.Lookup(events[i].Key)
		if !ok {
			continue
		}
		f := events[i].Flags.For(interest)
		if f == 0 {
			continue
		}
		events[n].Token, events[n].Flags = token, f
		n++
	}
	return n
}

// Close closes the queue. Current and later calls of Wait first return the remaining
// registrations: one event with Closed for each, exactly once among all waiters; after that
// ErrClosed. Close does not wait for other calls. It returns an *OpError with ErrClosed if the
// Poll is already closed.
func (q *Poll) Close() error {
	// The caller counts as a user until all waiters are woken, so that the kernel
	// object that wakes them still exists.
	if !q.gate.Enter(gate.Long) {
		return &OpError{Op: "close", Err: ErrClosed}
	}
	first, p := q.gate.Close()
	if p.Sealed {
		close(q.sealed)
	}
	var err error
	if first {
		err = q.sel.NotifyAll()
	}
	q.leave(gate.Long)
	switch {
	case !first:
		return &OpError{Op: "close", Err: ErrClosed}
	case err != nil:
		return &OpError{Op: "close", Err: err}
	}
	return nil
}

// leave leaves the gate. The last Short user closes sealed; the last user of all
// closes the selector.
func (q *Poll) leave(c gate.Class) {
	p := q.gate.Leave(c)
	if p.Sealed {
		close(q.sealed)
	}
	if p.Empty {
		q.sel.Close()
	}
}

// drain returns the Closed events of a closed queue.
func (q *Poll) drain(events []Event) (int, error) {
	<-q.sealed
	var tokens [64]uint64
	n := q.table.Drain(tokens[:min(len(events), len(tokens))])
	if n == 0 {
		return 0, &OpError{Op: "wait", Err: ErrClosed}
	}
	for i, t := range tokens[:n] {
		events[i] = Event{Token: t, Flags: selector.Closed}
	}
	return n, nil
}
