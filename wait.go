package pollux

import (
	"time"

	"github.com/pollux-io/pollux/internal/gate"
	"github.com/pollux-io/pollux/internal/selector"
)

// Wait waits until something is ready, for timeout at the most, and stores what
// it found in events: it returns how many, at most 512 a call. Zero events and
// no error mean that the time is up.
//
// A timeout of zero only looks; a negative one waits forever. Wait is never
// early; nanoseconds count where the kernel has them (Linux 5.11). Signals do
// not end it.
//
// Any number of goroutines may wait on one Poll. Each edge, and each oneshot, is
// handed to one of them.
//
// The error is an *OpError with ErrNoRoom, with ErrClosed after Close, once every
// registration has been told, or with the kernel's.
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

// maxLooks bounds how often a Wait with a timeout of zero looks.
const maxLooks = 8

func (q *Poll) wait(events []Event, timeout time.Duration) (int, error) {
	raw := q.scratch.Get().(*[maxWait]selector.Event)
	defer q.scratch.Put(raw)
	events = events[:min(len(events), maxWait)]
	room := raw[:len(events)]

	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	for looks := 1; ; looks++ {
		// Wakers must not hide what the kernel has, nor may it hide them: with
		// room for one event they take turns.
		n, found, now := 0, 0, timeout
		if q.wakes.any() {
			now = 0
			if len(events) > 1 || q.turn.Add(1)%2 == 0 {
				n = q.takeWakes(events)
			}
		}
		if free := min(len(room), len(events)-n); free > 0 {
			k, err := q.sel.Wait(room[:free], now)
			if err != nil && n == 0 {
				return 0, err
			} // else the wakes that were taken come first; the kernel will fail again
			n, found = n+q.resolve(room[:k], events[n:]), k
		}
		if n == 0 {
			n = q.takeWakes(events)
		}
		stale := found > 0 && looks < maxLooks // it may have taken the room of an event
		if n > 0 || timeout == 0 && !stale || q.gate.Closed() {
			return n, nil
		}
		if timeout > 0 {
			timeout = max(time.Until(deadline), 0)
		}
	}
}

// takeWakes hands out pending wakes. What there is no room for is somebody
// else's to take.
func (q *Poll) takeWakes(events []Event) int {
	n, more := q.wakes.take(events)
	if more {
		q.notify()
	}
	return n
}

// resolve turns what a backend reports into events, less what is stale.
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

// Close closes the queue. Every Wait, asleep or to come, first hands out what is
// still registered: one event with Closed() for each registration, once in all.
// After that they return ErrClosed, as Register and Reregister do at once. Close
// does not wait for them. Sources stay open.
//
// It returns an *OpError with ErrClosed if the Poll was closed before.
func (q *Poll) Close() error {
	// The caller counts as a user until everybody has been woken, so that the
	// kernel object is still there to wake them by.
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

// leave counts a user out and does what falls to the last one.
func (q *Poll) leave(c gate.Class) {
	p := q.gate.Leave(c)
	if p.Sealed {
		close(q.sealed)
	}
	if p.Empty {
		q.sel.Close()
	}
}

// drain hands out the Closed events of a closed queue.
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
