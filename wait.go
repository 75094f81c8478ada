package pollux

import (
	"time"

	"github.com/pollux-io/pollux/internal/queue"
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
	raw := q.scratch.Get().(*[queue.MaxWait]queue.Event)
	n, err := q.q.Wait(raw[:min(len(events), queue.MaxWait)], timeout)
	for i := range raw[:n] {
		events[i] = Event{token: Token(raw[i].Token), flags: raw[i].Flags}
	}
	q.scratch.Put(raw)
	return n, err
}

// Close closes the queue. Current and later calls of Wait first return the remaining
// registrations: one event with Closed() for each, exactly once among all waiters.
// After that they return ErrClosed; Register and Reregister return ErrClosed
// immediately. Close does not wait for other calls. Sources stay open.
//
// It returns an *OpError with ErrClosed if the Poll is already closed.
func (q *Poll) Close() error { return q.q.Close() }
