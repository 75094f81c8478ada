package frame

import "fmt"

// A Scanner finds the delimited frames of one stream. It remembers how much of an incomplete frame
// it has searched: so a frame that arrives in many parts costs time in proportion to its length.
// Keep one in the handler of each connection:
//
//	type session struct{ in frame.Scanner }
//
//	h := &session{in: frame.Scanner{Format: lines}}
//
// The calls of Next must follow the stream: after a call that has returned a frame of n bytes, the
// next gets what follows these n bytes; after one that has returned 0, it gets the same bytes,
// unchanged, and those that follow. A handler that replaces another (loop.Conn.SetHandler)
// begins with a new Scanner.
type Scanner struct {
	// Format is the format of the stream. Many Scanners may share it.
	Format *Delimited

	searched int // the bytes of the incomplete frame in which no delimiter ends
}

// Next implements Format. The errors are those of Delimited.Next; the one for a nil Format wraps
// ErrBadArgument.
func (s *Scanner) Next(b []byte) (n int, frame []byte, err error) {
	if s.Format == nil {
		return 0, nil, fmt.Errorf("frame: %w: Scanner.Format is needed, not nil", ErrBadArgument)
	}
	if s.searched > len(b) { // b is not what the last call got: another stream, or a part of it
		s.searched = 0
	}
	n, frame, err = s.Format.next(b, s.searched)
	s.searched = 0
	if n == 0 && err == nil {
		s.searched = len(b)
	}
	return n, frame, err
}
