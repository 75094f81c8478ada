package sendqueue

// Staging is a buffer of fixed size that collects what a callback writes, so that one system
// call sends it. The zero Staging has no space.
type Staging struct {
	buf []byte
}

// NewStaging returns a buffer of so many bytes.
func NewStaging(size int) Staging { return Staging{make([]byte, 0, size)} }

// Len returns how many bytes the buffer contains.
func (s *Staging) Len() int { return len(s.buf) }

// Space returns how many more bytes fit.
func (s *Staging) Space() int { return cap(s.buf) - len(s.buf) }

// Append adds a copy of b, for which there must be space. The check of that costs nothing after
// the caller's: the compiler inlines both.
func (s *Staging) Append(b []byte) {
	if len(b) > s.Space() {
		panic("sendqueue: a staging buffer is full")
	}
	n := len(s.buf)
	s.buf = s.buf[:n+copy(s.buf[n:cap(s.buf)], b)]
}

// Take empties the buffer and returns what it contained, valid until the next Append.
func (s *Staging) Take() []byte {
	b := s.buf
	s.buf = b[:0]
	return b
}
