package loop

import "fmt"

// The inbox is how other goroutines submit work to a loop. Everything that tryEnd depends on and
// that changes outside of the loop's goroutine changes by an op, or together with one: put wakes
// the loop, so it cannot sleep through the change.

// loopState is what a loop still accepts. It is guarded by the inbox's lock.
type loopState uint8

const (
	takesAll loopState = iota
	// takesNothingNew: the group is shutting down, or the loop has failed, and there is no
	// connection. Ops put before are still done, and so are those of putEnd. The loop still
	// runs, and owns its state.
	takesNothingNew
	// takesNothing: the goroutine is about to end. Loop.ended is closed when it has.
	takesNothing
)

// opKind is the kind of function of an op.
type opKind uint8

const (
	opOwn       opKind = iota // internal to this package
	opRun                     // given to Run
	opOffloaded               // the second half of an Offload
)

// op is work for a loop: a connection with new requests, a timer that was moved, or a function.
type op struct {
	conn  *Conn
	timer *Timer
	f     func()
	kind  opKind
}

// Run runs f on the loop, soon, after the functions given to it before. It may be called from
// any goroutine, and never waits. At most Config.MaxQueuedFuncs functions may be queued: one more is
// ErrQueueFull. Once the loop has ended, after Shutdown or because it has failed, the error is
// ErrClosed; it is ErrBadArgument if f is nil. If Run returns an error, f is not run.
//
// In each turn the functions may take a millisecond together: the rest waits for the next turn,
// so that connections are served between them.
func (l *Loop) Run(f func()) error {
	err := l.tryRun(f)
	if err != nil {
		return fmt.Errorf("loop: run: %w", err)
	}
	return nil
}

func (l *Loop) tryRun(f func()) error {
	if f == nil {
		return errNil("a function")
	}
	if n := l.functions.Add(1); int(n) > l.g.config.MaxQueuedFuncs {
		l.functions.Add(-1)
		if l.inboxState() != takesAll {
			return l.endedError()
		}
		return ErrQueueFull
	}
	if !l.put(op{f: f, kind: opRun}) {
		l.functions.Add(-1)
		return l.endedError()
	}
	return nil
}

// endedError returns the error for work that a loop does not accept any more.
func (l *Loop) endedError() error {
	if err := l.failed.Load(); err != nil {
		return fmt.Errorf("the loop has ended: %w (%w)", *err, ErrClosed)
	}
	return errGroupEnded
}

// put submits an op to the loop. It may be called from any goroutine, including the loop's. It
// returns false if the loop accepts nothing new: it may still be running.
func (l *Loop) put(o op) bool { return l.putBefore(takesNothingNew, o) }

// putEnd is put for functions that end something: the loop accepts those as long as it runs. If
// it returns false, the loop does not call its driver any more.
func (l *Loop) putEnd(f func()) bool { return l.putBefore(takesNothing, op{f: f}) }

func (l *Loop) putBefore(state loopState, o op) bool {
	l.inbox.Lock()
	if l.inbox.state >= state {
		l.inbox.Unlock()
		return false
	}
	l.putAndUnlock(o)
	return true
}

// putIf is put that first calls prepare, with the inbox locked, and submits the op only if that
// returns nil.
func (l *Loop) putIf(o op, prepare func() error) error {
	l.inbox.Lock()
	err := error(nil)
	if l.inbox.state >= takesNothingNew {
		err = l.endedError()
	} else {
		err = prepare()
	}
	if err != nil {
		l.inbox.Unlock()
		return err
	}
	l.putAndUnlock(o)
	return nil
}

// putAndUnlock adds an op to the inbox, which must be locked.
func (l *Loop) putAndUnlock(o op) {
	l.inbox.ops = append(l.inbox.ops, o)
	l.inbox.size.Store(int32(len(l.inbox.ops)))
	l.inbox.Unlock()
	if !l.awake.Load() {
		l.drv.Wake()
	}
}

// inboxState may be called from any goroutine.
func (l *Loop) inboxState() loopState {
	l.inbox.Lock()
	defer l.inbox.Unlock()
	return l.inbox.state
}

// hasEnded reports whether the goroutine has ended. It may be called from any goroutine.
func (l *Loop) hasEnded() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// reserveOffload counts a function of Offload, whose second half the loop must run before it
// ends. Only that second half, on the loop, may call releaseOffload: otherwise tryEnd could miss
// the change.
func (l *Loop) reserveOffload() error {
	l.inbox.Lock()
	defer l.inbox.Unlock()
	if l.inbox.state != takesAll {
		return l.endedError()
	}
	c := &l.g.config
	if l.inbox.offloads >= c.MaxQueuedFuncs+c.OffloadQueue+c.OffloadWorkers {
		return ErrQueueFull // their second halves are queued
	}
	l.inbox.offloads++
	return nil
}

func (l *Loop) releaseOffload() {
	l.inbox.Lock()
	l.inbox.offloads--
	l.inbox.Unlock()
}

// tryEnd is called by a loop that is ending, after doInbox. It reports whether nothing is left
// to do: no connections, no second halves of Offload, and an empty inbox.
func (l *Loop) tryEnd() bool {
	l.inbox.Lock()
	if l.inbox.state == takesAll && l.conns.Len() == 0 && (l.inbox.offloads == 0 || l.aborted) {
		l.inbox.state = takesNothingNew
	}
	state := l.inbox.state
	l.inbox.Unlock()
	if state == takesAll {
		return false
	}
	l.doInbox() // ops put before the state changed may bring connections
	if l.conns.Len() > 0 || l.hasDeferred() {
		return false
	}
	l.inbox.Lock()
	l.inbox.state = takesNothing
	l.inbox.Unlock()
	l.doInbox() // only putEnd has been possible since
	return true
}

// hasDeferred reports whether work waits for the next turn, which must not sleep.
func (l *Loop) hasDeferred() bool { return !l.deferred.empty() || !l.tasks.empty() }

// doInbox runs the ops of the inbox, in order, and then tasks. Users' functions may take turnBudget
// together: the rest waits for the next turn, still in order, and delays neither connections nor
// timers.
func (l *Loop) doInbox() {
	l.doOps()
	if !l.tasks.empty() {
		l.doTasks()
	}
}

func (l *Loop) doOps() {
	spent := l.newBudget()
	for !l.deferred.empty() && !spent.over() {
		l.doFunction(l.deferred.pop())
	}
	if l.batch.empty() { // otherwise the rest of the last batch comes first (runAfterGoexit)
		if l.inbox.size.Load() == 0 {
			return
		}
		l.inbox.Lock()
		l.batch.items, l.inbox.ops = l.inbox.ops, l.batch.items[:0]
		l.inbox.size.Store(0)
		l.inbox.Unlock()
	}
	for !l.batch.empty() {
		o := l.batch.pop()
		switch {
		case o.conn != nil:
			o.conn.serve()
		case o.timer != nil:
			o.timer.serve()
		case o.kind == opOwn:
			l.call(workOwn, o.f, o.f)
		case !l.deferred.empty() || spent.over():
			l.deferred.push(o)
		default:
			l.doFunction(o)
		}
	}
}

func (l *Loop) doFunction(o op) {
	if o.kind == opRun {
		l.functions.Add(-1)
		l.call(workRun, o.f, o.f)
		return
	}
	o.f() // it sets the activity itself
}
