package tlsconn

import (
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
)

// A resuming is a driver whose Resume calls a function.
type resuming struct {
	driver.StreamDriver
	resume func()
}

func (d resuming) Resume(*driver.Stream) { d.resume() }

// The engine, a timer and the loop may request a step at the same time: one is queued. A step that is requested during another
// one follows it.
func TestOneStepIsQueued(t *testing.T) {
	queue := make(chan func(), 100)
	l := &layer{hs: &handshake{deadline: time.Now().Add(time.Hour)}}
	l.above = driver.Above{
		Driver: resuming{resume: func() { l.requestStep() }},
		Run:    func(f func()) bool { queue <- f; return true },
	}
	for range 2 {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 10 {
					l.requestStep()
				}
			})
		}
		all.Wait()
		if n := len(queue); n != 1 {
			t.Fatalf("80 requests at the same time are %d functions in the queue, want 1", n)
		}
		(<-queue)()
		if n := len(queue); n != 1 {
			t.Fatalf("a request during a step is %d functions in the queue, want 1", n)
		}
	}
}
