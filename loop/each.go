package loop

import "fmt"

// Each calls f for each open connection of the group, on the connection's loop, as a callback of
// that connection: what f writes is sent when it returns, and a panic closes the connection. It
// does not wait for the calls, and may be called from any goroutine, also in a callback.
//
// A connection that opens or ends meanwhile may or may not be visited; none is visited twice.
// On each loop the calls of one Each come after those of the Each before. In each turn of a loop
// they may take a millisecond together, with the deliveries of Fanouts: the rest waits for the next
// turn.
//
// On each loop an Each counts as one function of Config.MaxQueuedFuncs until it has visited the
// loop's connections: if a loop has too many, the error is ErrQueueFull. It is ErrClosed once
// all loops have ended, and ErrBadArgument if f is nil. If Each returns an error, f is not called.
func (g *Group) Each(f func(*Conn)) error {
	if err := g.tryEach(f); err != nil {
		return fmt.Errorf("loop: each: %w", err)
	}
	return nil
}

func (g *Group) tryEach(f func(*Conn)) error {
	if f == nil {
		return errNil("a function")
	}
	for i, l := range g.loops {
		if l.functions.Add(1) > int32(g.config.MaxQueuedFuncs) && l.inboxState() == takesAll {
			for _, l := range g.loops[:i+1] {
				l.functions.Add(-1)
			}
			return ErrQueueFull
		}
	}
	var err error
	begun := 0
	for _, l := range g.loops {
		if l.put(op{f: func() { l.visits.add(l, f) }}) {
			begun++
			continue
		}
		l.functions.Add(-1)
		err = l.endedError()
	}
	if begun > 0 {
		return nil // a loop that has ended has no connections
	}
	return err
}

// visits are the calls of Each that a loop has not finished, in order. Only the first has a list
// of the connections, made when it began.
type visits struct {
	l       *Loop
	queue   fifo[func(*Conn)] // the first function is being called
	conns   []*Conn           // to be visited by it, the last first
	begun   bool
	current *Conn
	call    func() // calls the first function for current
}

var _ task = (*visits)(nil)

func (v *visits) add(l *Loop, f func(*Conn)) {
	first := v.queue.empty()
	v.queue.push(f)
	if !first {
		return // v is a task already
	}
	if v.l = l; v.call == nil {
		v.call = func() { v.queue.front()(v.current) }
	}
	l.addTask(v)
}

// do implements task.
func (v *visits) do(b *budget) bool {
	for !v.queue.empty() {
		if !v.begun {
			v.begin()
		}
		for len(v.conns) > 0 {
			if b.over() {
				return false
			}
			v.visitNext()
		}
		v.finish()
	}
	return true
}

func (v *visits) begin() {
	v.begun = true
	for i := range v.l.conns.Len() {
		v.conns = append(v.conns, *v.l.conns.At(i))
	}
}

func (v *visits) visitNext() {
	last := len(v.conns) - 1
	c := v.conns[last]
	v.conns[last], v.conns = nil, v.conns[:last]
	if c.phase != open || c.handler == nil || c.ends() {
		return
	}
	v.current = c
	c.callback(v.call)
	v.current = nil
}

// finish removes the first function.
func (v *visits) finish() {
	v.begun, v.conns = false, nil
	v.queue.pop()
	v.l.functions.Add(-1)
}
