package driver

import "testing"

func TestTurnQueue(t *testing.T) {
	const mark, other = 1 << 3, 1
	q := TurnQueue[Stream]{Mark: mark}
	streams := make([]Stream, 3)
	put := func(i int) { q.Put(&streams[i], &streams[i].State) }
	for round := range 3 {
		for i := range streams {
			streams[i].Flags = other
			put(i)
			put(0) // already in the queue
		}
		if q.Len() != len(streams) {
			t.Fatalf("round %d: %d streams in the queue, want %d", round, q.Len(), len(streams))
		}
		for i := range streams {
			if s := q.Take(); s != &streams[i] || s.Flags != other {
				t.Fatalf("round %d: Take %d returned another stream than was put, or left it marked", round, i)
			}
		}
	}
	put(2)
	if q.Len() != 1 || q.Take() != &streams[2] {
		t.Error("Put and Take fail on a queue that was emptied")
	}
}

// A queue that is never empty keeps the order, and does not grow.
func TestTurnQueueNeverEmpty(t *testing.T) {
	q := TurnQueue[Stream]{Mark: 1}
	streams := make([]Stream, 5)
	for i := range streams {
		q.Put(&streams[i], &streams[i].State)
	}
	for i := range 1000 {
		s := q.Take()
		if s != &streams[i%len(streams)] {
			t.Fatalf("turn %d: out of order", i)
		}
		q.Put(s, &s.State)
	}
	rotate := func() { s := q.Take(); q.Put(s, &s.State) }
	if n := testing.AllocsPerRun(1000, rotate); n != 0 || cap(q.entries) > 4*len(streams) {
		t.Errorf("%v allocations, capacity %d for %d streams", n, cap(q.entries), len(streams))
	}
}
