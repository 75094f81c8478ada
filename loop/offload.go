package loop

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/offload"
)

// A Runner is where the second half of an Offload runs: a *Conn or a *Loop. No other types
// implement it.
type Runner interface {
	// runner returns the loop, and the connection if it is one. The loop is nil if the Runner is
	// nil, or not initialized.
	runner() (*Loop, *Conn)
}

var (
	_ Runner = (*Conn)(nil)
	_ Runner = (*Loop)(nil)
)

func (l *Loop) runner() (*Loop, *Conn) { return l, nil }

func (c *Conn) runner() (*Loop, *Conn) {
	if c == nil {
		return nil, nil
	}
	return c.loop, c
}

// Offload runs work, which may block, on one of the group's Config.OffloadWorkers goroutines,
// and then done on a loop, with what work has returned. If work panics, or ends its goroutine
// (runtime.Goexit), done gets the zero T and a *PanicError. done may be nil.
//
// If on is a *Conn, done runs as one of that connection's callbacks: never at the same time as
// another, after Opened and before Closed. What it writes is sent together, and if it panics,
// the connection is closed. It is called even while the handler has paused, and while the
// connection is failing, before Closed. Data may be called before it, unless the handler pauses.
// Several done functions run in the order in which their work has returned. Once the connection
// is being closed or detached, by a method called or for any other reason, done is not called,
// and the result is dropped; closing does not wait for work. Work that should end early then uses
// Conn.Context, which is canceled when the peer is gone or the connection ends. If done must run
// in any case, such as to release the result, offload on the connection's Loop.
//
// If on is a *Loop, done runs on it as a function of Run does, and a panic in it is logged.
//
// Shutdown waits for work and for done, unless its context ends. If the loop ends before done,
// because of that or because it has failed, done is not called. In each turn of the loop, done
// functions and functions of Run may take a millisecond together; the rest runs in the next turn.
//
// Offload may be called from any goroutine, and never blocks. If it returns an error, neither
// function runs. The error wraps ErrOffloadFull; ErrQueueFull, if too many done functions are
// queued for the loop; ErrClosed, if the connection is being closed or the group has shut down;
// or ErrBadArgument, if on or work is nil. On a *Conn it is a *net.OpError.
func Offload[T any](on Runner, work func() (T, error), done func(T, error)) error {
	o := &typedOffload[T]{first: work, second: done}
	if done != nil {
		o.done = reflect.ValueOf(done).Pointer()
	}
	o.halves = o
	return o.submit(on, work == nil)
}

// typedOffload is a call of Offload: the part that depends on the type of the result.
type typedOffload[T any] struct {
	offloaded
	first  func() (T, error)
	second func(T, error)
	result T
	err    error
}

func (o *typedOffload[T]) runWork() {
	work := o.first
	o.first = nil // release what it refers to
	o.result, o.err = work()
}

func (o *typedOffload[T]) setError(err error) { o.err = err }

func (o *typedOffload[T]) runDone() { o.second(o.result, o.err) }

// halves are the functions of an Offload, without the type of the result.
type halves interface {
	runWork()
	setError(err error) // work has ended without a result
	runDone()
}

// offloaded is a call of Offload. The pool calls its exported methods.
type offloaded struct {
	halves
	l        *Loop
	c        *Conn   // whose callback done is; nil: none
	done     uintptr // the program counter of done, for the watchdog; 0: done is nil
	panicked *PanicError
	actor    driver.Actor // with a simulated network: when the second half is submitted
}

var _ offload.Job = (*offloaded)(nil)

func (o *offloaded) submit(on Runner, noWork bool) error {
	if on != nil {
		o.l, o.c = on.runner()
	}
	err := o.trySubmit(noWork)
	switch {
	case err == nil:
		return nil
	case o.l != nil && o.c != nil:
		return o.c.opError("offload", err)
	}
	return fmt.Errorf("loop: offload: %w", err)
}

func (o *offloaded) trySubmit(noWork bool) error {
	switch {
	case o.l == nil:
		return errNil("a connection or a loop")
	case noWork:
		return errNil("a function for the work")
	case o.c != nil && o.c.ends():
		return ErrClosed
	}
	if sim := o.l.g.sim; sim != nil {
		o.actor = sim.NewActor()
	}
	err := o.l.g.offload.Submit(o)
	switch {
	case errors.Is(err, offload.ErrFull):
		return ErrOffloadFull
	case errors.Is(err, offload.ErrStopped):
		return errGroupEnded
	}
	return err
}

// Reserve implements offload.Job: the loop must not end before finish has run.
func (o *offloaded) Reserve() error { return o.l.reserveOffload() }

// Run implements offload.Job.
func (o *offloaded) Run() { o.runWork() }

// Finish implements offload.Job.
func (o *offloaded) Finish(returned bool, recovered any) {
	if !returned {
		o.panicked = newPanicError(recovered)
		o.setError(o.panicked)
	}
	if o.actor != nil {
		o.actor.Wait(0)
		defer o.actor.Done()
	}
	if !o.l.put(op{kind: opOffloaded, f: o.finish}) { // the loop was aborted and has ended
		o.drop()
	}
}

// finish runs on the loop, after Finish.
func (o *offloaded) finish() {
	if o.c != nil && o.c.postpone(o) {
		return
	}
	o.l.releaseOffload()
	switch {
	case o.done == 0:
		o.drop()
	case o.c != nil:
		if !o.c.callOffloaded(o.done, o.runDone) {
			o.drop()
		}
	default:
		o.l.working.begin(workOffloaded, o.done)
		defer o.l.working.end()
		o.l.guard(workOffloaded, o.runDone)
	}
}

// drop is called instead of done. A panic that done does not get is logged.
func (o *offloaded) drop() {
	if p := o.panicked; p != nil {
		o.l.g.logs.panics.Error("pollux: offloaded work panicked", "panic", p.Value, "stack", string(p.Stack))
	}
}

// callOffloaded calls done, the second half of an Offload, as a callback; pc is its program
// counter. It returns false if the connection is being closed or detached.
func (c *Conn) callOffloaded(pc uintptr, done func()) bool {
	c.servePending() // Close and Detach take effect, SetHandler does before done writes
	if c.phase != open && c.phase != failing {
		return false
	}
	c.loop.working.begin(workOffloaded, pc)
	err := c.callbackErr(done)
	c.loop.working.end()
	c.finishCallback(err)
	return true
}
