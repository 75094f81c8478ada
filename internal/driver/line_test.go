package driver

import "testing"

func TestLine(t *testing.T) {
	const mark, other = 1 << 3, 1
	l := Line{Mark: mark}
	streams := make([]Stream, 3)
	for round := range 3 {
		for i := range streams {
			streams[i].Flags = other
			l.Put(&streams[i])
			l.Put(&streams[0]) // already in the line
		}
		if l.Len() != len(streams) {
			t.Fatalf("round %d: %d streams in the line, want %d", round, l.Len(), len(streams))
		}
		for i := range streams {
			if s := l.Take(); s != &streams[i] || s.Flags != other {
				t.Fatalf("round %d: Take %d returned another stream than was put, or left it marked", round, i)
			}
		}
	}
	l.Put(&streams[2])
	if l.Len() != 1 || l.Take() != &streams[2] {
		t.Error("Put and Take fail on a line that was emptied")
	}
}

// A line that is never empty keeps the order, and does not grow.
func TestLineNeverEmpty(t *testing.T) {
	l := Line{Mark: 1}
	streams := make([]Stream, 5)
	for i := range streams {
		l.Put(&streams[i])
	}
	for i := range 1000 {
		s := l.Take()
		if s != &streams[i%len(streams)] {
			t.Fatalf("turn %d: out of order", i)
		}
		l.Put(s)
	}
	if n := testing.AllocsPerRun(1000, func() { l.Put(l.Take()) }); n != 0 || cap(l.streams) > 4*len(streams) {
		t.Errorf("%v allocations, capacity %d for %d streams", n, cap(l.streams), len(streams))
	}
}
