package pollux

import (
	"sync"
	"sync/atomic"

	"github.com/pollux-io/pollux/internal/gate"
	"github.com/pollux-io/pollux/internal/selector"
)

// A Waker makes a Wait return from anywhere: one Wait, asleep or the next, hands
// out a Readable event with the waker's token. Wakes that come before it has
// been handed out are one. What was written before Wake is seen by whoever gets
// the event. A waker is no registration: it gets no Closed event.
type Waker struct {
	q     *Poll
	token Token

	pending atomic.Bool
	closed  atomic.Bool // set with the queue's lock held
}

// NewWaker returns a Waker whose events carry token. Tokens are the caller's: choose
// one that no registration has. It may be called from any goroutine; the error is an
// *OpError with ErrClosed.
func (q *Poll) NewWaker(token Token) (*Waker, error) {
	if q.gate.Closed() {
		return nil, &OpError{Op: "waker", Err: ErrClosed}
	}
	return &Waker{q: q, token: token}, nil
}

// Wake may be called from any goroutine and never blocks. While a wake is
// pending, it costs one atomic operation; while nobody sleeps, no system call.
//
// The error is an *OpError with ErrClosed, if the Poll or the Waker is closed, or
// the kernel's: the wake stays pending then, for the next Wait, but a Wait that sleeps may
// not be woken before the next Wake.
func (w *Waker) Wake() error {
	pending := w.pending.Swap(true)
	if pending {
		if w.closed.Load() || w.q.gate.Closed() {
			return &OpError{Op: "wake", Err: ErrClosed}
		}
		if !w.q.wakes.unsent.Load() {
			return nil
		}
	}
	if !w.q.gate.Enter(gate.Short) {
		return &OpError{Op: "wake", Err: ErrClosed}
	}
	defer w.q.leave(gate.Short)
	if !pending && !w.q.wakes.put(w) {
		return &OpError{Op: "wake", Err: ErrClosed}
	}
	w.q.wakes.unsent.Store(false)
	if err := w.q.notify(); err != nil {
		return &OpError{Op: "wake", Err: err}
	}
	return nil
}

// notify makes a Wait look at the pending wakes. After an error they stay pending, and the
// next Wake notifies again.
func (q *Poll) notify() error {
	err := q.sel.Notify()
	if err != nil {
		q.wakes.unsent.Store(true)
	}
	return err
}

// Close takes the waker out of service: a pending wake is dropped, and Wake
// returns ErrClosed from now on. It always returns nil.
func (w *Waker) Close() error {
	w.q.wakes.drop(w)
	return nil
}

// wakeQueue holds the wakers that are pending, each once.
type wakeQueue struct {
	count   atomic.Int32
	unsent  atomic.Bool // notifying the selector has failed: the next Wake does it
	mu      sync.Mutex
	pending []*Waker
}

func (p *wakeQueue) any() bool { return p.count.Load() != 0 }

// put returns false if the waker is closed.
func (p *wakeQueue) put(w *Waker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.closed.Load() {
		w.pending.Store(false) // so that every later Wake finds out as well
		return false
	}
	p.pending = append(p.pending, w)
	p.count.Store(int32(len(p.pending)))
	return true
}

// take hands out pending wakes, but leaves room for an event of the kernel, if
// there is room for two.
func (p *wakeQueue) take(events []Event) (n int, more bool) {
	if !p.any() {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n = min(len(p.pending), max(len(events)/2, 1))
	for i, w := range p.pending[:n] {
		// Swap, not Store: it has to see the Swap of every Wake that it answers,
		// for what they wrote to be visible.
		w.pending.Swap(false)
		events[i] = Event{token: w.token, flags: selector.ReadableFlag}
	}
	rest := copy(p.pending, p.pending[n:])
	clear(p.pending[rest:])
	p.pending = p.pending[:rest]
	p.count.Store(int32(rest))
	return n, rest > 0
}

// drop closes a waker and forgets its pending wake.
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
