package loop

import (
	"reflect"
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// work is the kind of a function that runs on a loop and is not a callback of a connection.
type work uint8

const (
	workNone work = iota
	workOwn
	workRun
	workTimer
	workOffloaded
	workDialed
	workWatch
	workPackets
	workListenPacket
	workSent
	workFreed
	workDetached
	workAttached
)

// String returns the name used in the log.
func (w work) String() string {
	return [...]string{
		workNone:         "nothing",
		workOwn:          "a function of the loop's own",
		workRun:          "a function on the loop",
		workTimer:        "a timer's function",
		workOffloaded:    "the second half of an Offload",
		workDialed:       "Dial's function",
		workWatch:        "a watch's function",
		workPackets:      "a packet handler",
		workListenPacket: "ListenPacket's function",
		workSent:         "a WriteOwned's done function",
		workFreed:        "a NewSharedFunc's function",
		workDetached:     "Detach's function",
		workAttached:     "Attach's function",
	}[w]
}

// activity describes the function that a loop is running, for the watchdog. Only the loop writes
// it.
type activity struct {
	step atomic.Uint64 // sequence number; the low bits hold its work
	pc   atomic.Uintptr
	last uint64 // accessed by the loop only
}

const workBits = 8

func (a *activity) begin(w work, pc uintptr) {
	a.last++
	a.pc.Store(pc)
	a.step.Store(a.last<<workBits | uint64(w))
}

func (a *activity) end() { a.step.Store(a.last << workBits) }

// workOf returns the kind of function that a step runs.
func workOf(step uint64) work { return work(step & (1<<workBits - 1)) }

// funcName returns the Go name of a function.
func funcName(pc uintptr) string {
	if f := runtime.FuncForPC(pc); f != nil {
		return f.Name()
	}
	return "?"
}

// call runs f, which does not belong to a connection, and recovers its panics. named is the
// user's function that f calls, for the log.
func (l *Loop) call(w work, named any, f func()) {
	l.working.begin(w, reflect.ValueOf(named).Pointer())
	defer l.working.end()
	l.guard(w, f)
}

// guard is call for functions that the watchdog identifies by other means.
func (l *Loop) guard(w work, f func()) {
	defer func() {
		if v := recover(); v != nil {
			if line, ok := l.g.logs.panics.Admit(); ok { // a stack is expensive
				line.Error("pollux: "+w.String()+" panicked", "panic", v, "stack", string(stackNow()))
			}
		}
	}()
	f()
}

// maxStackBytes is how much of a stack a PanicError and the log keep: the innermost frames.
const maxStackBytes = 16 << 10

// stackNow returns the stack of the calling goroutine.
func stackNow() []byte {
	stack := debug.Stack()
	if len(stack) > maxStackBytes {
		stack = append(stack[:maxStackBytes:maxStackBytes], "\n… (cut off)"...)
	}
	return stack
}
