package loop

import (
	"fmt"
	"sync"
)

// groupEnd is how a group has ended, for Wait.
type groupEnd struct {
	once      sync.Once
	finished  chan struct{} // closed when a Shutdown returns
	shutdown  error         // what that Shutdown returned; valid when finished is closed
	allFailed chan struct{} // closed when all loops have ended because they have failed
}

func newGroupEnd() groupEnd {
	return groupEnd{finished: make(chan struct{}), allFailed: make(chan struct{})}
}

// finish records that a Shutdown returns err.
func (e *groupEnd) finish(err error) {
	e.once.Do(func() {
		e.shutdown = err
		close(e.finished)
	})
}

// loopEnded is called by each loop that has ended.
func (g *Group) loopEnded() {
	if g.live.Add(-1) != 0 {
		return
	}
	for _, l := range g.loops {
		if l.failed.Load() == nil {
			return
		}
	}
	close(g.end.allFailed)
}

// Wait waits until Shutdown, called by another goroutine, has finished, and returns its error: of
// several calls of Shutdown that of the first which returns. If all loops fail (LoopStats.Failed),
// Wait returns the failure of the first one, even without Shutdown, which should be called then.
//
// Any number of goroutines may wait. In a callback Wait returns ErrOnLoop. A program that never
// calls Shutdown can end its main function with it.
func (g *Group) Wait() error {
	if err := g.checkNotOnLoop(); err != nil {
		return fmt.Errorf("loop: wait: %w", err)
	}
	select {
	case <-g.end.allFailed:
	case <-g.end.finished:
	}
	select {
	case <-g.end.allFailed:
		return fmt.Errorf("loop: all loops have failed: %w", *g.loops[0].failed.Load())
	default:
		return g.end.shutdown
	}
}
