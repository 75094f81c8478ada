package loop

import (
	"bytes"
	"runtime"
	"strconv"
	"sync"

	"github.com/pollux-io/pollux/internal/passive"
)

// Some methods wait for a loop. Called on that loop they would wait forever; so they compare the
// current goroutine's number, as Go prints it, with the loops', and fail. That takes a
// microsecond. Loop.OnLoop, which is for hot paths, first looks whether the loop runs anything.

// goroutineID returns the number of the calling goroutine.
func goroutineID() uint64 {
	b := stackHeads.Get().(*[64]byte) // one of its own would be allocated
	defer stackHeads.Put(b)
	_, rest, _ := bytes.Cut(b[:runtime.Stack(b[:], false)], []byte("goroutine "))
	number, _, _ := bytes.Cut(rest, []byte(" "))
	n, _ := strconv.ParseUint(string(number), 10, 64)
	return n
}

// stackHeads has the buffers of goroutineID.
var stackHeads = sync.Pool{New: func() any { return new([64]byte) }}

// currentLoop returns the loop of the group that runs on the calling goroutine, or nil.
func (g *Group) currentLoop() *Loop {
	if n := goroutineID(); n != 0 {
		for _, l := range g.loops {
			if l.goroutineID.Load() == n {
				return l
			}
		}
	}
	return nil
}

// OnLoop reports whether the caller runs on one of the group's loops: in a callback, a function of Run or
// of a timer. There, functions that wait for the group's loops must not be called; one that does so by means of Run
// can check this first, and return ErrOnLoop. It takes a microsecond.
func (g *Group) OnLoop() bool { return g.currentLoop() != nil }

// OnLoop reports whether the caller runs on this loop: in a callback, a function of Run or of a timer. While none
// of these runs, it takes a few nanoseconds, and otherwise a microsecond.
func (l *Loop) OnLoop() bool {
	if l.runningPacket.Load() == nil && workOf(l.working.step.Load()) == workNone {
		if c := l.running.Load(); c == nil || c.isPassive() {
			return false
		}
	}
	return goroutineID() == l.goroutineID.Load()
}

// isPassive reports whether no callback of c runs code of a user.
func (c *Conn) isPassive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.handler.(passive.Handler)
	return ok
}

// checkNotOnLoop returns ErrOnLoop on a loop of the group.
func (g *Group) checkNotOnLoop() error {
	if g.OnLoop() {
		return ErrOnLoop
	}
	return nil
}
