// Package offload runs jobs that may block on a bounded number of goroutines.
package offload

import (
	"errors"
	"sync"
)

var (
	// ErrFull: all workers are busy, and the queue is full.
	ErrFull = errors.New("the queue of the offload pool is full")
	// ErrStopped: Stop has been called.
	ErrStopped = errors.New("the offload pool has been stopped")
)

// A Job is work for a Pool.
type Job interface {
	// Reserve is called by Submit, with the pool locked, if there is capacity for the job. If it
	// returns an error, Submit returns that, and no other method is called. It must not call the
	// pool.
	Reserve() error
	// Run does the work on a worker. It may block, panic, or end its goroutine (runtime.Goexit).
	Run()
	// Finish is called when Run has ended, on the same goroutine. If Run has not returned,
	// recovered is the value of its panic, or nil if it has ended the goroutine. Finish must
	// neither panic nor end its goroutine.
	Finish(returned bool, recovered any)
}

// A Pool is a set of workers, which are goroutines: they are started on demand, up to a maximum,
// and end when no job is queued. Its methods may be called from any goroutine.
type Pool struct {
	maxWorkers, maxQueued int
	ended                 sync.WaitGroup // workers

	mu      sync.Mutex
	queue   []Job // in the order of Submit
	workers int
	stopped bool
}

// New returns a Pool with up to workers goroutines, for which up to queued jobs may wait.
func New(workers, queued int) *Pool { return &Pool{maxWorkers: workers, maxQueued: queued} }

// Submit runs or queues a job, and does not wait for it. The error is ErrFull, ErrStopped or that
// of Reserve; then the job does not run.
func (p *Pool) Submit(j Job) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := p.workers < p.maxWorkers
	switch {
	case p.stopped:
		return ErrStopped
	case !idle && len(p.queue) >= p.maxQueued:
		return ErrFull
	}
	if err := j.Reserve(); err != nil {
		return err
	}
	if !idle {
		p.queue = append(p.queue, j)
		return nil
	}
	p.workers++
	p.ended.Add(1)
	go p.work(j)
	return nil
}

// work is a worker's goroutine: it runs j, and then queued jobs.
func (p *Pool) work(j Job) {
	defer func() {
		if j != nil { // it has ended this goroutine
			if j = p.next(); j != nil {
				go p.work(j)
				return
			}
		}
		p.ended.Done()
	}()
	for j != nil {
		run(j)
		j = p.next()
	}
}

func run(j Job) {
	returned := false
	defer func() {
		var recovered any
		if !returned {
			recovered = recover()
		}
		j.Finish(returned, recovered)
	}()
	j.Run()
	returned = true
}

// next returns the next job of a worker, or nil if that must end.
func (p *Pool) next() Job {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.workers--
		return nil
	}
	j := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return j
}

// Stop makes Submit fail, and waits until the jobs submitted before have finished.
func (p *Pool) Stop() {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.ended.Wait()
}

// Stats returns how many jobs are running and how many are queued.
func (p *Pool) Stats() (running, queued int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.workers, len(p.queue)
}
