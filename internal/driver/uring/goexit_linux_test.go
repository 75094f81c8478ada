package uring

import (
	"runtime"
	"testing"
)

// exitAtSent ends the goroutine after the first Sent.
type exitAtSent struct{ *testStream }

func (s exitAtSent) Sent(n int, err error) {
	s.testStream.Sent(n, err)
	if s.sends == 1 {
		runtime.Goexit()
	}
}

// A Sent that ends the goroutine comes once, and Released comes after it, although no system call shows that
// the ring belongs to another thread.
func TestGoexitAtSent(t *testing.T) {
	b := newBench(t, options{entries: 64, completions: 128, buffers: 8})
	b.lost = 1 // the waker's
	var s *testStream
	ended := make(chan bool)
	go func() {
		defer close(ended)
		s = b.connect(1)[0]
		s.Up = exitAtSent{s}
		if _, err := b.Send(&s.Stream, [][]byte{pattern(1, 100)}); err != nil {
			b.Error(err)
		}
		b.ring.Submit(0)
		b.awaitCompletion(t)
		b.Release(&s.Stream)
		b.Turn(0)
		b.Error("Sent did not come")
	}()
	<-ended
	if s == nil {
		t.FailNow()
	}
	defer s.peer.Close()
	if err := b.Turn(0); err != nil {
		t.Fatal(err)
	}
	if s.sends != 1 || s.sent != 100 || !s.released {
		t.Errorf("Sent came %d times, for %d bytes, and Released %t; want 1, 100, true", s.sends, s.sent, s.released)
	}
}
