package loop

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/block"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/wheel"
)

// A Loop is one goroutine that owns connections, timers and a driver.
//
// A turn has three phases: what others have asked for (inbox); the driver's turn, which
// waits and calls back; timers. What a callback writes goes out when it returns.
type Loop struct {
	g           *Group
	goroutineID atomic.Uint64 // its number, for checkNotOnLoop
	drv         driver.Driver
	packets     driver.PacketSender // nil if the driver is none
	blocks      *block.Pool
	timers      *wheel.Wheel

	// The loop's own.
	staging   []byte     // where the connection in a callback writes to
	direct    int        // a write of so many bytes in a callback goes to the kernel at once
	iov       [][]byte   // scratch of flush
	done      []doneCall // scratch of afterFlush
	callStart time.Time  // when the callback began, if it is one that is measured:
	timed     bool
	wokeAt    time.Time           // when the loop woke, if the turn is one that is measured
	conns     driver.Pages[*Conn] // each knows its place
	ending    bool
	aborted   bool // abortAll was called: what is left waits for nothing
	counts    counts
	batch     opQueue // what doInbox does
	deferred  opQueue // functions that have to wait for the next turn

	// What others read.
	running       atomic.Pointer[Conn] // whose callback runs
	runningPacket atomic.Pointer[PacketConn]
	working       activity // the function that runs, unless it is a connection's
	turn          atomic.Uint64
	slow          atomic.Uint64 // callbacks that the watchdog has seen to be slow
	slowest       atomic.Int64  // nanoseconds that the slowest of them took, at least
	sentDirectly  atomic.Uint64 // sent past the queue, and in datagrams

	// awake is false while the loop sleeps or is about to: then whoever puts something
	// into the inbox wakes it. The loop clears it before its last look at the inbox.
	awake atomic.Bool
	inbox struct {
		sync.Mutex
		ops      []op
		size     atomic.Int32
		state    loopState
		offloads int // functions of Offload whose second half has not begun; see owe
	}
	functions atomic.Int32 // of Run that have not begun: at most Config.MaxQueued

	// ended is closed when the goroutine has ended and the driver is closed. Whoever has
	// received from it may read everything that is the loop's own.
	ended chan struct{}

	load   atomic.Int32 // connections, for choosing the least loaded
	peers  recentPeers
	failed atomic.Pointer[error] // why the loop has ended by itself
}

const (
	// maxTimers is how many timers fire in one turn; the rest fire in the next.
	maxTimers = 1024
	// maxSpareOps is the room that a loop keeps for what is asked of it.
	maxSpareOps = 16 << 10
)

func newLoop(g *Group, drv driver.Driver) *Loop {
	l := &Loop{
		g: g, drv: drv, blocks: block.NewPool(g.config.IdleBuffers), timers: wheel.New(0),
		iov: make([][]byte, 0, driver.MaxPieces), direct: directBytesQueued, ended: make(chan struct{}),
	}
	l.packets, _ = drv.(driver.PacketSender)
	if drv.SyncSend() {
		l.direct = directBytes
		l.staging = make([]byte, 0, min(stagingBytes, g.config.HighWatermark))
	}
	return l
}

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
		l.g.running.Done()
	}()
	l.goroutineID.Store(goroutineID())
	l.awake.Store(true)
	l.g.watchdog.loopWoke()
	for {
		l.doInbox()
		if l.ending && l.tryEnd() {
			l.awake.Store(false) // no callback runs any more: the watchdog looks at this
			ended = true
			return
		}
		timeout := l.untilTimer()
		l.noteSleep()
		l.awake.Store(false)
		if l.inbox.size.Load() > 0 || !l.deferred.empty() {
			timeout = 0
		}
		if err := l.drv.Turn(timeout); err != nil {
			l.fail(fmt.Errorf("its driver has failed: %w", err))
		}
		l.wakeUp()
		l.counts.turns++
		l.turn.Store(l.counts.turns)
		l.doTimers()
	}
}

// fail ends the loop whose driver works no more. The others go on without it, and it lets
// go of its part of the listening sockets, where nobody would be served.
func (l *Loop) fail(err error) {
	if l.failed.CompareAndSwap(nil, &err) {
		l.g.config.Logger.Error("pollux: a loop has failed; it ends, and its connections with it", "backend", l.drv.Name(), "error", err)
	}
	for _, end := range l.g.closersOn(l) {
		end()
	}
	l.abortAll(err)
}

// goOn is run after a callback that has ended the loop's goroutine. What the driver was about
// to tell is lost, and a driver may be tied to its thread: so the loop ends, in good order.
func (l *Loop) runAfterGoexit() {
	l.running.Store(nil)
	l.runningPacket.Store(nil)
	l.working.end()
	l.staging = l.staging[:0]
	l.fail(errGoexit)
	l.run()
}

// wakeUp says that the loop is awake, in the middle of the driver's turn: what its
// callbacks put into the inbox is looked at before it sleeps again.
func (l *Loop) wakeUp() {
	if !l.awake.Load() {
		l.awake.Store(true)
		l.g.watchdog.loopWoke()
		l.noteWake()
	}
}

// woke and sleeps measure how long the loop is awake, in one turn of timedTurns.
func (l *Loop) noteWake() {
	if l.counts.turns%timedTurns == 0 && l.wokeAt.IsZero() {
		l.wokeAt = time.Now()
	}
}

func (l *Loop) noteSleep() {
	if !l.wokeAt.IsZero() {
		l.counts.busyNanos += int64(time.Since(l.wokeAt)) * timedTurns
		l.wokeAt = time.Time{}
	}
}

// timedTurns: the time is read around one turn in so many, for Stats.
const timedTurns = 16

// clock reads the time: nanoseconds since the group began.
func (l *Loop) clock() int64 { return int64(time.Since(l.g.began)) }

// later returns the moment d after now; the last there is, if that is later.
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

// doTimers fires what is due, in order, for turnBudget at the most: the rest fires in the
// next turn, which does not sleep.
func (l *Loop) doTimers() {
	if l.timers.Len() == 0 {
		return
	}
	var spent budget
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

// abortAll ends every connection, and returns how many had not finished before: sent
// everything, and FIN.
func (l *Loop) abortAll(err error) (aborted int) {
	l.ending, l.aborted = true, true
	for i := l.conns.Len(); i > 0; i-- {
		if c := *l.conns.At(i - 1); c.phase != gone {
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

// remember and forget keep the loop's books of its connections.
func (l *Loop) addConn(c *Conn) {
	c.index = l.conns.Append(c)
}

func (l *Loop) removeConn(c *Conn) {
	last := *l.conns.At(l.conns.Len() - 1)
	*l.conns.At(c.index), last.index = last, c.index
	l.conns.RemoveLast()
	l.load.Add(-1)
	l.g.releaseConn()
}
