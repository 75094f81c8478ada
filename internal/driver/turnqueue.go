package driver

// A TurnQueue is a FIFO queue of streams, listeners or sockets that the next turn serves; each is
// in it at most once. One that leaves the driver while it is queued stays queued: the caller of Take
// must check its flags.
type TurnQueue[T any] struct {
	// Mark is the bit of State.Flags that is set while an object is in the queue. Each queue of
	// a driver has its own.
	Mark uint32

	entries []turnEntry[T] // those before first are removed
	first   int
}

type turnEntry[T any] struct {
	x     *T
	state *State
}

// Len returns how many objects are in the queue.
func (q *TurnQueue[T]) Len() int { return len(q.entries) - q.first }

// Put appends x, whose State is s, unless it is already in the queue.
func (q *TurnQueue[T]) Put(x *T, s *State) {
	if s.Flags&q.Mark != 0 {
		return
	}
	s.Flags |= q.Mark
	// Move the entries to the front if that frees at least half; otherwise append grows the slice.
	if len(q.entries) == cap(q.entries) && 2*q.first >= len(q.entries) {
		n := copy(q.entries, q.entries[q.first:])
		clear(q.entries[n:])
		q.entries, q.first = q.entries[:n], 0
	}
	q.entries = append(q.entries, turnEntry[T]{x, s})
}

// Take removes and returns the first object. The queue must not be empty.
func (q *TurnQueue[T]) Take() *T {
	e := q.entries[q.first]
	q.entries[q.first] = turnEntry[T]{}
	if q.first++; q.first == len(q.entries) {
		q.entries, q.first = q.entries[:0], 0
	}
	e.state.Flags &^= q.Mark
	return e.x
}
