package driver

// A Line is streams that wait for their turn, first in, first out, each of them once. A
// stream can be in one line.
type Line struct {
	// Mark is the flag of State.Flags that says that a stream is in the line.
	Mark uint32

	head, tail *Stream
	count      int
}

// Len returns how many streams are in the line.
func (l *Line) Len() int { return l.count }

// Put puts a stream at the end, unless it is in the line.
func (l *Line) Put(s *Stream) {
	if s.Flags&l.Mark != 0 {
		return
	}
	s.Flags |= l.Mark
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.Next = s
	}
	l.tail = s
	l.count++
}

// Take takes the first one out; there must be one.
func (l *Line) Take() *Stream {
	s := l.head
	l.head = s.Next
	if l.head == nil {
		l.tail = nil
	}
	s.Next = nil
	s.Flags &^= l.Mark
	l.count--
	return s
}
