package simnet

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

// A lock is the Network's. A rule, which is called with it held, would wait for itself if it called a
// method of this package: Lock panics then.
//
// It also holds the time as of its last Lock, so that all that happens while it is held happens at one
// instant, and the clock is read once at most.
type lock struct {
	sync.Mutex
	judging atomic.Bool // a rule runs
	now     int64       // nanoseconds since the network began, or unknownTime; the mutex guards it
}

const unknownTime = -1

// Lock implements sync.Locker.
func (l *lock) Lock() {
	if !l.TryLock() {
		l.lockSlowly()
	}
	l.now = unknownTime
}

func (l *lock) lockSlowly() {
	if l.judging.Load() && isInRule() {
		panic("looptest: a rule (SetRule) called a method of its network, which is locked during the call; a rule may use its Segment and variables of the test only")
	}
	l.Mutex.Lock()
}

// isInRule reports whether a rule has called what runs, on this goroutine.
func isInRule() bool {
	pcs := make([]uintptr, 256)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(0, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "simnet.(*Network).askRuleLocked") {
			return true
		}
		if !more {
			return false
		}
	}
}
