package loop

import "fmt"

// The inbox is how others have a loop do something. All that `end` depends on and that can
// change outside of the loop's goroutine changes by an op, or together with one: put wakes
// the loop, so it cannot sleep through the change.

// loopState says what a loop still takes. It is guarded by the inbox's lock.
type loopState uint8

const (
	takesAll loopState = iota
	// takesNothingNew: the group shuts down, or the loop has failed, and there is no
	// connection. What was put before is done, and so is what ends something. The loop runs,
	// and what is the loop's own still is.
	takesNothingNew
	// takesNothing: the goroutine is about to end. Loop.ended tells when it has.
	takesNothing
)

// opKind says what kind of function an op has.
type opKind uint8

const (
	opOwn       opKind = iota // of this package
	opRun                     // of Run
	opOffloaded               // the second half of an Offload
)

// op is something to do on the loop: a connection whose requests changed, a timer that was
// moved, or a function.
type op struct {
	conn  *Conn
	timer *Timer
	f     func()
	kind  opKind
}

// opQueue is a first-in, first-out queue.
type opQueue struct {
	ops []op
	at  int // of the first
}

func (q *opQueue) empty() bool { return q.at == len(q.ops) }

func (q *opQueue) push(o op) { q.ops = append(q.ops, o) }

// pop takes the first op out. The queue must not be empty.
func (q *opQueue) pop() op {
	o := q.ops[q.at]
	q.ops[q.at] = op{}
	q.at++
	if !q.empty() {
		return o
	}
	q.at = 0
	if cap(q.ops) > maxSpareOps { // of a burst
		q.ops = nil
	}
	q.ops = q.ops[:0]
	return o
}

// Run runs f on the loop, soon, after the functions given to it before. It may be called
// from any goroutine, and never waits. At most Config.MaxQueued functions may be queued: one
// more is ErrQueueFull. Once the loop has ended, after Shutdown or because it has failed, the
// error is ErrClosed; it is ErrBadConfig for an f of nil. If there is an error, f is not run.
//
// The functions of one turn may take a millisecond together: the rest waits for the next
// turn, so that connections are served between them.
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
	if n := l.functions.Add(1); int(n) > l.g.config.MaxQueued {
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

// endedError returns the error of what a loop does not take any more.
func (l *Loop) endedError() error {
	if err := l.failed.Load(); err != nil {
		return fmt.Errorf("the loop has ended: %w (%w)", *err, ErrClosed)
	}
	return errGroupEnded
}

// put has an op done on the loop, soon. It may be called from any goroutine, the
// loop's too. It returns false if the loop takes nothing new: it may still run.
func (l *Loop) put(o op) bool { return l.putBefore(takesNothingNew, o) }

// putEnd is put of what ends something: the loop takes that as long as it runs. If it
// returns false, the loop calls its driver no more.
func (l *Loop) putEnd(f func()) bool { return l.putBefore(takesNothing, op{f: f}) }

func (l *Loop) putBefore(state loopState, o op) bool {
	l.inbox.Lock()
	if l.inbox.state >= state {
		l.inbox.Unlock()
		return false
	}
	l.inbox.ops = append(l.inbox.ops, o)
	l.inbox.size.Store(int32(len(l.inbox.ops)))
	l.inbox.Unlock()
	if !l.awake.Load() {
		l.drv.Wake()
	}
	return true
}

// takes may be called from any goroutine.
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

// owe counts a function of Offload, whose second half the loop waits for before it ends. It
// is counted out on the loop, by that second half, and never elsewhere: end could miss that.
func (l *Loop) reserveOffload() error {
	l.inbox.Lock()
	defer l.inbox.Unlock()
	if l.inbox.state != takesAll {
		return l.endedError()
	}
	c := &l.g.config
	if l.inbox.offloads >= c.MaxQueued+c.OffloadQueue+c.OffloadWorkers {
		return ErrQueueFull // their second halves wait
	}
	l.inbox.offloads++
	return nil
}

func (l *Loop) releaseOffload() {
	l.inbox.Lock()
	l.inbox.offloads--
	l.inbox.Unlock()
}

// end is called by a loop that is ending, after doInbox. It reports whether nothing is left
// to be done: no connection, none of Offload's second halves, and nothing in the inbox.
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
	l.doInbox() // what came before: there may be connections among it
	if l.conns.Len() > 0 || !l.deferred.empty() {
		return false
	}
	l.inbox.Lock()
	l.inbox.state = takesNothing
	l.inbox.Unlock()
	l.doInbox() // what has come meanwhile ends something
	return true
}

// doInbox does what was asked of the loop, in order. Functions of users may take turnBudget
// together: what is left of them waits for the next turn, still in order, and holds up
// neither connections nor timers.
func (l *Loop) doInbox() {
	var spent budget
	for !l.deferred.empty() && !spent.over() {
		l.doFunction(l.deferred.pop())
	}
	if l.batch.empty() { // else goOn goes on with the last one
		if l.inbox.size.Load() == 0 {
			return
		}
		l.inbox.Lock()
		l.batch.ops, l.inbox.ops = l.inbox.ops, l.batch.ops[:0]
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
	o.f() // it names what it runs
}
