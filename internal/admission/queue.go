package admission

import (
	"slices"
	"sync"
	"sync/atomic"
)

// queue is a queue of listeners that wait for the same resource.
type queue struct {
	mu      sync.Mutex
	waiting []*Acceptor
	n       atomic.Int32 // len(waiting)
	// taken counts connections accepted in a row, without a failure, while others waited.
	taken atomic.Int32
}

// add puts a listener into the queue, at its front or end, unless it is there already.
func (q *queue) add(a *Acceptor, first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case slices.Contains(q.waiting, a):
		return
	case first:
		q.waiting = slices.Insert(q.waiting, 0, a)
	default:
		q.waiting = append(q.waiting, a)
	}
	q.n.Store(int32(len(q.waiting)))
}

func (q *queue) remove(a *Acceptor) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(b *Acceptor) bool { return a == b })
	q.n.Store(int32(len(q.waiting)))
}

// hasWaiters reports whether the queue is not empty.
func (q *queue) hasWaiters() bool { return q.n.Load() > 0 }

// pop removes and returns the first listener, or returns nil.
func (q *queue) pop() *Acceptor {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return nil
	}
	a := q.waiting[0]
	q.waiting = slices.Delete(q.waiting, 0, 1)
	q.n.Store(int32(len(q.waiting)))
	return a
}

// grant removes the first listener whose loop still runs, and resumes it. It may be called from
// any goroutine.
func (q *queue) grant() {
	if !q.hasWaiters() {
		return
	}
	for a := q.pop(); a != nil; a = q.pop() {
		if a.host.Put(func() { a.granted(q) }) {
			return
		}
	}
}
