package pollux

import (
	"time"

	"github.com/pollux-io/pollux/internal/gate"
	"github.com/pollux-io/pollux/internal/selector"
)

// Wait waits until a source is ready or the timeout expires. It stores events in
// events and returns their number, at most 512 per call. It returns 0 and nil when the
// timeout expires.
//
// With a timeout of zero Wait does not block; with a negative one it does not time out.
// Wait never returns early; the resolution is nanoseconds where the kernel supports it
// (Linux 5.11). Signals do not interrupt it.
//
// Any number of goroutines may wait on one Poll. Each edge-triggered or oneshot event is
// delivered to one of them.
//
// The error is an *OpError with ErrNoRoom, with ErrClosed after Close, once every
// registration has had its Closed event, or with the kernel's error.
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
	raw := q.scratch.Get().(*[maxWait]selector.Event)
	defer q.scratch.Put(raw)
	events = events[:min(len(events), maxWait)]
	buf := raw[:len(events)]

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
		if free := min(len(buf), len(events)-n); free > 0 {
			k, err := q.sel.Wait(buf[:free], now)
			if err != nil && n == 0 {
				return 0, err
			} // else deliver the wakes already taken; the next Wait fails again
			n, found = n+q.resolve(buf[:k], events[n:]), k
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

// resolve converts a backend's events, dropping stale ones and readiness that the
// registration did not ask for.
func (q *Poll) resolve(raw []selector.Event, events []Event) int {
	n := 0
	for _, r := range raw {
		token, interest, ok := q.table.Lookup(r.Key)
		if !ok {
			continue
		}
		f := r.Flags &^ selector.Flags(selector.AnyInterest&^interest)
		if f == 0 {
			continue
		}
		events[n] = Event{token: Token(token), flags: f}
		n++
	}
	return n
}

// Close closes the queue. Current and later calls of Wait first return the remaining
// registrations: one event with Closed() for each, exactly once among all waiters.
// After that they return ErrClosed; Register and Reregister return ErrClosed
// immediately. Close does not wait for other calls. Sources stay open.
//
// It returns an *OpError with ErrClosed if the Poll is already closed.
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
		events[i] = Event{token: Token(t), flags: selector.Closed}
	}
	return n, nil
}
