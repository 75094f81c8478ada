package driver

// A Line is streams that wait for their turn, first in, first out, each of them once.
type Line struct {
	// Mark is the flag of State.Flags that says that a stream is in the line. A driver has
	// one line.
	Mark uint32

	streams []*Stream // from first on
	first   int
}

// Len returns how many streams are in the line.
func (l *Line) Len() int { return len(l.streams) - l.first }

// Put puts a stream at the end, unless it is in the line.
func (l *Line) Put(s *Stream) {
	if s.Flags&l.Mark != 0 {
		return
	}
	s.Flags |= l.Mark
	if len(l.streams) == cap(l.streams) && 2*l.first >= len(l.streams) { // else it grows
		n := copy(l.streams, l.streams[l.first:])
		clear(l.streams[n:])
		l.streams, l.first = l.streams[:n], 0
	}
	l.streams = append(l.streams, s)
}

// Take takes the first one out; there must be one.
func (l *Line) Take() *Stream {
	s := l.streams[l.first]
	l.streams[l.first] = nil
	if l.first++; l.first == len(l.streams) {
		l.streams, l.first = l.streams[:0], 0
	}
	s.Flags &^= l.Mark
	return s
}
