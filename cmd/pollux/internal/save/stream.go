package save

import "io"

// A Stream is an Output for a single body that is written as it is received. It cannot be
// removed.
type Stream struct {
	w    io.Writer
	sent bool
	last byte // last byte that was written
	err  error
}

// NewStream returns a Stream to w.
func NewStream(w io.Writer) *Stream { return &Stream{w: w} }

// Create implements Output.
func (s *Stream) Create(int) (Body, error) { return s, nil }

// Err returns the error of writing to w. Call it after the job has ended.
func (s *Stream) Err() error { return s.err }

// InLine reports whether the output does not end with a newline. Call it after the job has
// ended.
func (s *Stream) InLine() bool { return s.sent && s.last != '\n' }

// Write implements Body.
func (s *Stream) Write(p []byte) (n int, err error) {
	s.sent = s.sent || len(p) > 0
	n, s.err = s.w.Write(p)
	if n > 0 {
		s.last = p[n-1]
	}
	return n, s.err
}

// Commit implements Body.
func (s *Stream) Commit() error { return nil }

// Abort implements Body.
func (s *Stream) Abort() bool { return !s.sent }
