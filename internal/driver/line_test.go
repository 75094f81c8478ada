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
			l.Put(&streams[0]) // is in it already
		}
		if l.Len() != len(streams) {
			t.Fatalf("round %d: %d in the line, want %d", round, l.Len(), len(streams))
		}
		for i := range streams {
			if s := l.Take(); s != &streams[i] || s.Next != nil || s.Flags != other {
				t.Fatalf("round %d: place %d: not the stream that was put there, or still marked", round, i)
			}
		}
	}
	l.Put(&streams[2])
	if l.Len() != 1 || l.Take() != &streams[2] {
		t.Error("a line that was empty does not work")
	}
}
