package pollux

import (
	"time"

	"github.com/pollux-io/pollux/internal/queue"
)

// Wait waits until a source is ready or the timeout expires. It stores events in events and
// returns their number, at most 512 per call. It returns 0 and nil when the timeout expires.
//
// With a timeout of zero Wait does not block; with a negative one, such as Forever, it does not
// time out. A timeout never expires early. Its resolution is nanoseconds on most systems
// (on Linux from 5.11, epoll_pwait2(2)); docs/platforms.md lists the others. Signals do not
// interrupt Wait.
//
// Any number of goroutines may wait on one Poll. Each edge-triggered or oneshot event is
// returned to one of them.
//
// The error is an *OpError with ErrNoRoom; with ErrClosed after Close, once Wait has returned
// the Closed event of every registration; or with the kernel's error.
func (q *Poll) Wait(events []Event, timeout time.Duration) (int, error) {
	raw := q.scratch.Get().(*[queue.MaxWait]queue.Event)
	n, err := q.q.Wait(raw[:min(len(events), queue.MaxWait)], timeout)
	for i := range raw[:n] {
		events[i] = Event{token: Token(raw[i].Token), flags: raw[i].Flags}
	}
	q.scratch.Put(raw)
	return n, err
}

// Close closes the Poll. For each registration that is left, one current or later Wait returns
// an event for which Closed reports true, exactly once among all callers; after that every Wait
// returns ErrClosed. Register, Reregister and Deregister return ErrClosed immediately. Close does
// not wait for other calls. Sources stay open.
//
// The error is an *OpError: with ErrClosed if the Poll is already closed, or with the kernel's
// error if a sleeping Wait could not be woken. The Poll is closed in any case.
func (q *Poll) Close() error { return q.q.Close() }
