package kqueue

// Ended reports whether NotifyAll was called.
func (s *Selector) Ended() bool { return s.Ending() }
