package loop

import (
	"fmt"
	"sync"
)

// Offload runs f, which may block, on one of the group's OffloadWorkers goroutines, then done on
// the loop with what f returned. If f panics, or ends its goroutine (runtime.Goexit), done gets
// a *PanicError. Shutdown waits for both, unless its context ends: then done is not called.
// Offload may be called from any goroutine and never blocks: if the error is ErrOffloadFull,
// ErrQueueFull (too many answers are queued for the loop), ErrClosed (the group has shut down)
// or ErrBadConfig (f is nil), neither runs. done may be nil.
func (l *Loop) Offload(f func() any, done func(answer any)) error {
	if f == nil {
		return fmt.Errorf("loop: offload: %w", errNil("a function"))
	}
	err := l.g.offload.put(l.reserveOffload, func() {
		callRecovered(f, func(answer any) {
			if p, ok := answer.(*PanicError); ok && done == nil {
				l.g.logs.panics.error("pollux: offloaded work panicked", "panic", p.Value, "stack", string(p.Stack))
			}
			l.put(op{kind: opOffloaded, f: func() {
				l.releaseOffload()
				if done != nil {
					l.call(workOffloaded, done, func() { done(answer) })
				}
			}}) // put fails if the loop was aborted and has ended
		})
	})
	if err != nil {
		return fmt.Errorf("loop: offload: %w", err)
	}
	return nil
}

// callRecovered calls f and passes its result, or a *PanicError, to report.
func callRecovered(f func() any, report func(answer any)) {
	var answer any
	returned := false
	defer func() {
		if !returned {
			answer = newPanicError(recover())
		}
		report(answer)
	}()
	answer = f()
	returned = true
}

// offload is a pool of goroutines: they are started on demand, up to a maximum, and end when
// there is no work.
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

// put runs or queues work. If there is capacity it calls reserve first, and returns its error.
func (o *offload) put(reserve func() error, work func()) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	idle := o.workers < o.max
	switch {
	case o.stopping:
		return errGroupEnded
	case !idle && len(o.queue) >= o.maxQueue:
		return ErrOffloadFull
	}
	if err := reserve(); err != nil {
		return err
	}
	if !idle {
		o.queue = append(o.queue, work)
		return nil
	}
	o.workers++
	o.ended.Add(1)
	go o.work(work)
	return nil
}

func (o *offload) work(f func()) {
	defer func() {
		if f != nil { // work has ended this goroutine
			go o.work(o.next())
			return
		}
		o.ended.Done()
	}()
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

// stop waits until all queued work has finished; its second halves are not run, as the loops
// have ended.
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
