package loop

// fifo is a first-in, first-out queue.
type fifo[T any] struct {
	items []T
	at    int // index of the first
}

func (q *fifo[T]) empty() bool { return q.at == len(q.items) }

// push adds an item. The places of removed items are reused before the slice grows, once they are at
// least half of it: so a queue that never becomes empty does not grow without bound.
func (q *fifo[T]) push(x T) {
	if len(q.items) == cap(q.items) && q.at > 0 && q.at >= len(q.items)-q.at {
		n := copy(q.items, q.items[q.at:])
		clear(q.items[n:])
		q.items, q.at = q.items[:n], 0
	}
	q.items = append(q.items, x)
}

// front returns the first item. The queue must not be empty.
func (q *fifo[T]) front() T { return q.items[q.at] }

// pop removes and returns the first item. The queue must not be empty.
func (q *fifo[T]) pop() T {
	var zero T
	x := q.items[q.at]
	q.items[q.at] = zero
	q.at++
	if !q.empty() {
		return x
	}
	q.at = 0
	if cap(q.items) > maxSpareItems { // grown by a burst
		q.items = nil
	}
	q.items = q.items[:0]
	return x
}
