package loop

import (
	"reflect"
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// work says what kind of function runs on a loop that is no callback of a connection.
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
	workDetached
)

// String returns what the log calls it.
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
		workDetached:     "Detach's function",
	}[w]
}

// activity is the function that a loop runs now, for the watchdog. The loop writes it.
type activity struct {
	step atomic.Uint64 // its number, and in the low bits its work
	pc   atomic.Uintptr
	last uint64 // the loop's own
}

const workBits = 8

func (a *activity) begin(w work, pc uintptr) {
	a.last++
	a.pc.Store(pc)
	a.step.Store(a.last<<workBits | uint64(w))
}

func (a *activity) end() { a.step.Store(a.last << workBits) }

// work returns what is running, of a step.
func workOf(step uint64) work { return work(step & (1<<workBits - 1)) }

// funcName returns the Go name of a function.
func funcName(pc uintptr) string {
	if f := runtime.FuncForPC(pc); f != nil {
		return f.Name()
	}
	return "?"
}

// call runs a function that belongs to no connection. named is the user's function, which f
// calls, for the log.
func (l *Loop) call(w work, named any, f func()) {
	l.working.begin(w, reflect.ValueOf(named).Pointer())
	defer l.working.end()
	l.guard(w, f)
}

// guard is call for what the watchdog knows otherwise.
func (l *Loop) guard(w work, f func()) {
	defer func() {
		if v := recover(); v != nil {
			l.g.logs.panics.panicked("pollux: "+w.String()+" panicked", v)
		}
	}()
	f()
}

// maxStackBytes is how much of a stack a PanicError and the log keep: the innermost frames.
const maxStackBytes = 16 << 10

// stackNow returns the stack of the goroutine.
func stackNow() []byte {
	stack := debug.Stack()
	if len(stack) > maxStackBytes {
		stack = append(stack[:maxStackBytes:maxStackBytes], "\n… (cut off)"...)
	}
	return stack
}
