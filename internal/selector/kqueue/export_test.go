package kqueue

import "runtime"

// Ended reports whether NotifyAll was called.
func (s *Selector) Ended() bool { return s.Ending() }

// Asleep returns when n calls of Wait are in the kernel, or about to be.
func (s *Selector) Asleep(n int32) {
	for s.blocked.Load() < n {
		runtime.Gosched()
	}
}
