package queue

import (
	"sync"
	"sync/atomic"

	"github.com/pollux-io/pollux/internal/gate"
	"github.com/pollux-io/pollux/internal/selector"
)

// A Waker makes a Wait return from any goroutine: one Wait, a sleeping one or the next, returns
// a Readable event with the waker's token. Wakes coalesce until a Wait has returned the event.
// Init must be called before other methods.
type Waker struct {
	q     *Poll
	token uint64

	pending atomic.Bool
	closed  atomic.Bool // set with q.wakes.mu held
}

// NewWaker returns a Waker whose events carry token.
func (q *Poll) NewWaker(token uint64) (*Waker, error) {
	w := &Waker{}
	if err := w.Init(q, token); err != nil {
		return nil, err
	}
	return w, nil
}

// Init sets the Poll and the token. The error is an *OpError with ErrClosed.
func (w *Waker) Init(q *Poll, token uint64) error {
	if q.gate.Closed() {
		return &OpError{Op: "waker", Err: ErrClosed}
	}
	w.q, w.token = q, token
	return nil
}

// Wake wakes one Wait. It never blocks. While a wake is pending it costs one atomic operation;
// while no Wait sleeps it makes no system call.
//
// The error is an *OpError with ErrClosed, if the Poll or the Waker is closed, or with the
// kernel's error: then the wake stays pending for the next Wait, but a sleeping Wait may not be
// woken before the next Wake.
func (w *Waker) Wake() error {
	pending := w.pending.Swap(true)
	if pending && !w.closed.Load() && !w.q.gate.Closed() && !w.q.wakes.needNotify.Load() {
		return nil
	}
	return w.wake(pending)
}

// wake is Wake, unless an earlier wake is pending and its notification has not failed.
func (w *Waker) wake(pending bool) error {
	if pending && w.closed.Load() || !w.q.gate.Enter(gate.Short) {
		return &OpError{Op: "wake", Err: ErrClosed}
	}
	defer w.q.leave(gate.Short)
	if !pending && !w.q.wakes.put(w) {
		return &OpError{Op: "wake", Err: ErrClosed}
	}
	w.q.wakes.needNotify.Store(false)
	if err := w.q.notify(); err != nil {
		return &OpError{Op: "wake", Err: err}
	}
	return nil
}

// notify makes a Wait check for pending wakes. After an error they stay pending, and the
// next Wake notifies again.
func (q *Poll) notify() error {
	err := q.sel.Notify()
	if err != nil {
		q.wakes.needNotify.Store(true)
	}
	return err
}

// Close closes the waker: a pending wake is dropped, and later calls of Wake return
// ErrClosed. It always returns nil.
func (w *Waker) Close() error {
	w.q.wakes.drop(w)
	return nil
}

// wakeQueue holds the wakers with a pending wake, each once.
type wakeQueue struct {
	count      atomic.Int32 // len(pending)
	needNotify atomic.Bool  // Notify has failed: the next Wake must call it
	mu         sync.Mutex
	pending    []*Waker
}

func (p *wakeQueue) any() bool { return p.count.Load() != 0 }

// put queues w. It returns false if w is closed.
func (p *wakeQueue) put(w *Waker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.closed.Load() {
		w.pending.Store(false) // so that every later Wake gets here and fails, too
		return false
	}
	p.pending = append(p.pending, w)
	p.count.Store(int32(len(p.pending)))
	return true
}

// take moves pending wakes to events and reports whether more are left. It fills at
// most half of events, to leave space for kernel events, but at least one.
func (p *wakeQueue) take(events []Event) (n int, more bool) {
	if !p.any() {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n = min(len(p.pending), max(len(events)/2, 1))
	for i, w := range p.pending[:n] {
		// Swap, not Store: it must synchronize with the Swap of every Wake that this
		// event answers, so that the writes before those Wakes are visible.
		w.pending.Swap(false)
		events[i] = Event{Token: w.token, Flags: selector.ReadableFlag}
	}
	rest := copy(p.pending, p.pending[n:])
	clear(p.pending[rest:])
	p.pending = p.pending[:rest]
	p.count.Store(int32(rest))
	return n, rest > 0
}

// drop closes w and removes its pending wake.
func (p *wakeQueue) drop(w *Waker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.closed.Store(true)
	w.pending.Store(false)
	for i, other := range p.pending {
		if other == w {
			p.pending = append(p.pending[:i], p.pending[i+1:]...)
			p.count.Store(int32(len(p.pending)))
			return
		}
	}
}
