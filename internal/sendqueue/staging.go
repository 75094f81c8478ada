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

// Append adds a copy of b. It returns false, and adds nothing, if there is no space for all of b.
func (s *Staging) Append(b []byte) bool {
	n := len(s.buf)
	if len(b) > cap(s.buf)-n {
		return false
	}
	s.buf = s.buf[:n+copy(s.buf[n:cap(s.buf)], b)]
	return true
}

// Take empties the buffer and returns what it contained, valid until the next Append.
func (s *Staging) Take() []byte {
	b := s.buf
	s.buf = b[:0]
	return b
}
