package loop

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/block"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/sendqueue"
	"github.com/pollux-io/pollux/internal/wheel"
)

// A Loop is one goroutine that runs the callbacks of its connections, its timers, and functions
// that are given to it. Group.Loops and Conn.Loop return it. Its methods may be called from any
// goroutine; only Watch waits.
//
// A loop works in turns. In each turn it runs the functions that other goroutines have submitted,
// waits for events and calls the handlers of the connections that have some, and then calls the
// functions of expired timers. A callback that blocks delays all of that.
type Loop struct {
	g           *Group
	index       int           // in the group's loops
	goroutineID atomic.Uint64 // for checkNotOnLoop
	drv         driver.Driver
	packets     driver.PacketSender // drv, if it implements PacketSender
	binds       bool                // drv implements Binder
	stepped     bool                // drv is a Stepper, which calls doRequests
	blocks      *block.Pool
	timers      *wheel.Wheel

	// Accessed by the loop only.
	staging     sendqueue.Staging // staging buffer: written by the connection that is in a callback
	direct      int               // a write of so many bytes in a callback bypasses the staging buffer
	iov         [][]byte          // scratch space of flushLocked
	done        []sendqueue.Done  // functions of WriteOwned and NewSharedFunc to be called by callDone
	callStart   int64             // when the callback began, on the loop's clock, if timed
	timed       bool
	wokeAt      int64               // when the loop woke, on its clock; 0: this turn is not measured
	conns       driver.Pages[*Conn] // each has its index
	ending      bool
	aborted     bool // abortAll was called: Offload is no longer waited for
	counts      counts
	batch       fifo[op]   // ops being run by doInbox
	deferred    fifo[op]   // users' functions deferred to the next turn
	tasks       fifo[task] // each does a part of its work in each turn
	taskTime    budget     // of this turn
	visits      visits     // of Group.Each
	spareJoined []*joined  // to be used again

	// Read by other goroutines.
	running       atomic.Pointer[Conn] // whose callback runs
	runningPacket atomic.Pointer[PacketConn]
	working       activity // the function that runs, unless it is a connection's callback
	turn          atomic.Uint64
	slow          atomic.Uint64 // number of slow callbacks found by the watchdog
	slowest       atomic.Int64  // nanoseconds that the slowest of them took, at least
	sentDirectly  atomic.Uint64 // bytes sent without the queue, and in datagrams

	// awake is false while the loop sleeps or is about to: then the goroutine that adds to the
	// inbox must wake it. The loop clears it before it checks the inbox for the last time.
	awake atomic.Bool
	inbox struct {
		sync.Mutex
		ops      []op
		size     atomic.Int32
		state    loopState
		offloads int // functions of Offload whose second half has not begun; see reserveOffload
	}
	functions atomic.Int32 // functions of Run that have not begun, and calls of Each that have not ended: at most Config.MaxQueuedFuncs

	// ended is closed when the goroutine has ended and the driver is closed. After a receive
	// from it, any goroutine may read the loop's own state.
	ended chan struct{}

	load   atomic.Int32 // number of connections, for leastLoaded
	peers  recentPeers
	failed atomic.Pointer[error] // why the loop has ended by itself

	// runForLayers is putEnd, as driver.Above.Run of every layer: a method value for each would be 16 bytes more.
	runForLayers func(f func()) bool
}

const (
	// maxTimers is how many timers fire in one turn; the rest fire in the next.
	maxTimers = 1024
	// maxSpareItems is the largest capacity that an empty fifo keeps.
	maxSpareItems = 16 << 10
)

func newLoop(g *Group, drv driver.Driver) *Loop {
	l := &Loop{
		g: g, index: len(g.loops), drv: drv, blocks: block.NewPool(g.config.IdleBufferBytes), timers: wheel.New(0),
		iov: make([][]byte, 0, driver.MaxBuffers), direct: directBytesQueued, ended: make(chan struct{}),
	}
	l.runForLayers = l.putEnd
	l.packets, _ = drv.(driver.PacketSender)
	_, l.binds = drv.(driver.Binder)
	if s, ok := drv.(driver.Stepper); ok {
		l.stepped = true
		s.BeforeDelivery(l.doRequests)
	}
	if drv.SyncSend() {
		l.direct = directBytes
		l.staging = sendqueue.NewStaging(min(stagingBytes, g.config.HighWatermarkBytes))
	}
	return l
}

// Index returns the loop's index in Group.Loops: 0 to Config.Loops-1. A slice with that length
// can have a value for each loop, which only functions and callbacks on that loop access, and so
// need no lock.
func (l *Loop) Index() int { return l.index }

// Group returns the loop's group.
func (l *Loop) Group() *Group { return l.g }

// Done returns a channel that is closed when the loop has ended, after Shutdown or because it has failed:
// it runs no function and no callback any more. While a callback does not return, the loop has not ended.
func (l *Loop) Done() <-chan struct{} { return l.ended }

// run is the loop's goroutine.
func (l *Loop) run() {
	ended := false
	defer func() {
		if !ended { // a callback has ended the goroutine
			go l.runAfterGoexit()
			return
		}
		l.drv.Close()
		close(l.ended)
		l.g.loopEnded()
		l.g.running.Done()
	}()
	l.goroutineID.Store(goroutineID())
	l.awake.Store(true)
	l.g.watchdog.Woke()
	for {
		if !l.stepped {
			l.doInbox()
		}
		if l.ending && l.tryEnd() {
			l.awake.Store(false) // for the watchdog: no more callbacks
			ended = true
			return
		}
		timeout := l.untilTimer()
		l.noteSleep()
		l.awake.Store(false)
		requested := l.inbox.size.Load() > 0
		switch {
		case l.hasDeferred() || requested && !l.stepped:
			timeout = 0
		case requested:
			l.drv.Wake() // as putAndUnlock, a moment later, would have done: the turn is the same
		}
		if err := l.drv.Turn(timeout); err != nil {
			l.fail(fmt.Errorf("driver failed: %w", err))
		}
		l.wakeUp()
		l.counts.turns++
		l.turn.Store(l.counts.turns)
		l.doTimers()
	}
}

// doRequests does what other goroutines have requested, at the beginning of the delivery of a Stepper.
func (l *Loop) doRequests() {
	l.wakeUp()
	l.doInbox()
}

// fail ends a loop whose driver has failed. The other loops continue; this one closes its
// listening sockets, which it would not serve any more.
func (l *Loop) fail(err error) {
	if l.failed.CompareAndSwap(nil, &err) {
		l.g.config.Logger.Error("pollux: a loop has failed; it ends, and its connections are closed", "backend", l.drv.Name(), "error", err)
	}
	for _, end := range l.g.closersOn(l) {
		end()
	}
	l.abortAll(err)
}

// runAfterGoexit runs the loop after a callback has ended the loop's goroutine. The events that
// the driver was about to deliver are lost, and a driver may be bound to its thread: so the loop
// fails, and ends in an orderly way.
func (l *Loop) runAfterGoexit() {
	if c := l.running.Load(); c != nil { // what the callback wrote is unsent, so the connection is reset
		c.mu.Lock()
		c.unstageLocked()
		l.running.Store(nil)
		c.mu.Unlock()
	}
	l.runningPacket.Store(nil)
	l.working.end()
	l.fail(errGoexit)
	l.run()
}

// wakeUp marks the loop as awake during the driver's turn: what callbacks put into the inbox
// needs no wake-up, as the loop checks the inbox before it sleeps again.
func (l *Loop) wakeUp() {
	if !l.awake.Load() {
		l.awake.Store(true)
		l.g.watchdog.Woke()
		l.noteWake()
	}
}

// noteWake and noteSleep measure how long the loop is awake, in one of timedTurns turns.
func (l *Loop) noteWake() {
	if l.counts.turns%timedTurns == 0 && l.wokeAt == 0 {
		l.wokeAt = max(l.clock(), 1)
	}
}

func (l *Loop) noteSleep() {
	if l.wokeAt != 0 {
		l.counts.busyNanos += (l.clock() - l.wokeAt) * timedTurns
		l.wokeAt = 0
	}
}

// timedTurns: one turn in so many is measured, for Stats.
const timedTurns = 16

// later returns now + d, or the largest time if that overflows.
func later(now int64, d time.Duration) int64 {
	if int64(d) > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + int64(d)
}

func (l *Loop) untilTimer() time.Duration {
	next, ok := l.timers.Next()
	if !ok {
		return -1
	}
	return max(time.Duration(next-l.clock()), 0)
}

// doTimers fires expired timers, in order, for up to turnBudget: the rest fires in the next
// turn, which does not sleep.
func (l *Loop) doTimers() {
	if l.timers.Len() == 0 {
		return
	}
	spent := l.newBudget()
	now := l.clock()
	for fired := 0; fired < maxTimers && !spent.over(); {
		n, more := l.timers.Advance(now, spent.items())
		fired += n
		l.counts.timers += uint64(n)
		if !more {
			return
		}
	}
}

// abortAll ends every connection, and returns how many of them had not finished: not been sent
// everything and FIN.
func (l *Loop) abortAll(err error) (aborted int) {
	l.ending, l.aborted = true, true
	for i := l.conns.Len(); i > 0; i-- {
		if c := *l.conns.At(i - 1); !c.phase.gone() {
			if c.phase == lingering {
				c.release(c.endReason())
				continue
			}
			aborted++
			c.fail(err)
		}
	}
	return aborted
}

// addConn and removeConn maintain the loop's list of connections.
func (l *Loop) addConn(c *Conn) {
	c.index = l.conns.Append(c)
}

func (l *Loop) removeConn(c *Conn) {
	last := *l.conns.At(l.conns.Len() - 1)
	*l.conns.At(c.index), last.index = last, c.index
	l.conns.RemoveLast()
	l.load.Add(-1)
	l.g.limits.Release()
}
