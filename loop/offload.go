package loop

import (
	"errors"
	"fmt"

	"github.com/pollux-io/pollux/internal/offload"
)

// Offload runs f, which may block, on one of the group's OffloadWorkers goroutines, then done on
// the loop with what f returned. If f panics, or ends its goroutine (runtime.Goexit), done gets
// a *PanicError. Shutdown waits for both, unless its context ends: then done is not called.
// Offload may be called from any goroutine and never blocks: if the error is ErrOffloadFull,
// ErrQueueFull (too many answers are queued for the loop), ErrClosed (the group has shut down)
// or ErrBadArgument (f is nil), neither runs. done may be nil.
func (l *Loop) Offload(f func() any, done func(answer any)) error {
	if f == nil {
		return fmt.Errorf("loop: offload: %w", errNil("a function"))
	}
	err := l.g.offload.Submit(&offloaded{l: l, f: f, done: done})
	switch {
	case errors.Is(err, offload.ErrFull):
		err = ErrOffloadFull
	case errors.Is(err, offload.ErrStopped):
		err = errGroupEnded
	}
	if err != nil {
		return fmt.Errorf("loop: offload: %w", err)
	}
	return nil
}

// offloaded is a call of Offload. The pool calls its exported methods.
type offloaded struct {
	l      *Loop
	f      func() any
	done   func(answer any)
	answer any
}

var _ offload.Job = (*offloaded)(nil)

// Reserve implements offload.Job: the loop must not end before answered has run.
func (o *offloaded) Reserve() error { return o.l.reserveOffload() }

// Run implements offload.Job.
func (o *offloaded) Run() { o.answer = o.f() }

// Finish implements offload.Job.
func (o *offloaded) Finish(returned bool, recovered any) {
	if !returned {
		p := newPanicError(recovered)
		o.answer = p
		if o.done == nil {
			o.l.g.logs.panics.Error("pollux: offloaded work panicked", "panic", p.Value, "stack", string(p.Stack))
		}
	}
	o.f = nil                                     // release what it refers to
	o.l.put(op{kind: opOffloaded, f: o.answered}) // put fails if the loop was aborted and has ended
}

// answered runs on the loop, after Finish.
func (o *offloaded) answered() {
	o.l.releaseOffload()
	if o.done != nil {
		o.l.call(workOffloaded, o.done, func() { o.done(o.answer) })
	}
}
