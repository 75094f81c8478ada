package driver

// A Line is a FIFO queue of streams that wait for their turn; each is in it at most once.
type Line struct {
	// Mark is the bit of State.Flags that is set while a stream is in the line. A driver
	// has one line.
	Mark uint32

	streams []*Stream // those before first are removed
	first   int
}

// Len returns how many streams are in the line.
func (l *Line) Len() int { return len(l.streams) - l.first }

// Put appends a stream, unless it is already in the line.
func (l *Line) Put(s *Stream) {
	if s.Flags&l.Mark != 0 {
		return
	}
	s.Flags |= l.Mark
	// Move the streams to the front if that frees at least half; otherwise append grows the slice.
	if len(l.streams) == cap(l.streams) && 2*l.first >= len(l.streams) {
		n := copy(l.streams, l.streams[l.first:])
		clear(l.streams[n:])
		l.streams, l.first = l.streams[:n], 0
	}
	l.streams = append(l.streams, s)
}

// Take removes and returns the first stream. The line must not be empty.
func (l *Line) Take() *Stream {
	s := l.streams[l.first]
	l.streams[l.first] = nil
	if l.first++; l.first == len(l.streams) {
		l.streams, l.first = l.streams[:0], 0
	}
	s.Flags &^= l.Mark
	return s
}
