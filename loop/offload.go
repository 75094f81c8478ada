package loop

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// Offload runs f, which may block, on one of the group's OffloadWorkers goroutines,
// then done on the loop with what f returned. If f panics, done gets a *PanicError.
// It may be called from any goroutine and never blocks: the error is ErrOffloadFull,
// ErrClosed once the group has shut down, or ErrBadConfig for an f of nil, and then neither
// runs. done is nil if nobody waits for the answer.
func (l *Loop) Offload(f func() any, done func(answer any)) error {
	if f == nil {
		return fmt.Errorf("loop: offload: %w", needs("a function"))
	}
	if l.hasEnded() {
		return fmt.Errorf("loop: offload: %w", l.endedBecause())
	}
	err := l.g.offload.put(func() {
		if answer := safely(f); done != nil {
			l.Run(func() { done(answer) })
		}
	})
	if err != nil {
		return fmt.Errorf("loop: offload: %w", err)
	}
	return nil
}

func safely(f func() any) (answer any) {
	defer func() {
		if v := recover(); v != nil {
			answer = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}

// offload is a pool of goroutines: they are started when there is work for them, up
// to a bound, and end when there is none.
type offload struct {
	mu       sync.Mutex
	queue    []func()
	maxQueue int
	workers  int
	max      int
	stopping bool
	ended    sync.WaitGroup
}

func newOffload(workers, queue int) *offload { return &offload{max: workers, maxQueue: queue} }

func (o *offload) put(work func()) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.stopping:
		return errGroupEnded
	case o.workers < o.max:
		o.workers++
		o.ended.Add(1)
		go o.work(work)
		return nil
	case len(o.queue) >= o.maxQueue:
		return ErrOffloadFull
	}
	o.queue = append(o.queue, work)
	return nil
}

func (o *offload) work(f func()) {
	defer o.ended.Done()
	for f != nil {
		f()
		f = o.next()
	}
}

func (o *offload) next() func() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		o.workers--
		return nil
	}
	f := o.queue[0]
	o.queue[0] = nil
	o.queue = o.queue[1:]
	return f
}

// stop lets what is queued finish; its second halves have no loop to run on.
func (o *offload) stop() {
	o.mu.Lock()
	o.stopping = true
	o.mu.Unlock()
	o.ended.Wait()
}

func (o *offload) stats() (workers, queued int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.workers, len(o.queue)
}
