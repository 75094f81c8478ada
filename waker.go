package pollux

import "github.com/pollux-io/pollux/internal/queue"

// A Waker makes a Wait return: after Wake, one Wait, a sleeping one or the next, returns a
// Readable event with the waker's token. Wakes coalesce until a Wait has returned the event.
// Memory writes before Wake are visible to the goroutine that gets the event. A waker is not a
// registration: it gets no Closed event. Poll.NewWaker creates one; its methods may be called
// from any goroutine.
type Waker struct{ w queue.Waker }

// NewWaker returns a Waker whose events carry token. Choose a token that no registration has.
// The error is an *OpError with ErrClosed.
func (q *Poll) NewWaker(token Token) (*Waker, error) {
	w := &Waker{}
	if err := w.w.Init(q.q, uint64(token)); err != nil {
		return nil, err
	}
	return w, nil
}

// Wake wakes one Wait. It never blocks. While a wake is pending it costs one atomic operation;
// while no Wait sleeps it makes no system call.
//
// The error is an *OpError with ErrClosed, if the Poll or the Waker is closed, or with
// the kernel's error: then the wake stays pending for the next Wait, but a sleeping Wait
// may not be woken before the next Wake.
func (w *Waker) Wake() error { return w.w.Wake() }

// Close closes the waker: a pending wake is dropped, and later calls of Wake return ErrClosed.
// It always returns nil, also if the waker is closed already.
func (w *Waker) Close() error { return w.w.Close() }
