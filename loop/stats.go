package loop

import (
	"time"

	"github.com/pollux-io/pollux"
)

// counts belong to the loop; Stats reads them there.
type counts struct {
	turns, accepts, refused, messages uint64
	bytesIn, bytesOut                 uint64
	callbacks, timers                 uint64
	packetErrors                      uint64
	callbackNanos, busyNanos          int64
	longest                           time.Duration
}

// LoopStats are the counters of one loop since it began, and its current state.
type LoopStats struct {
	Conns    int    // open connections
	Accepts  uint64 // connections accepted
	Refused  uint64 // connections refused for MaxConns
	BytesIn  uint64 // bytes received, including datagrams
	BytesOut uint64 // bytes sent, including datagrams
	Messages uint64 // calls of Data, and datagrams received
	Turns    uint64 // turns of the loop: each waits once for events, and handles them
	Queued   int    // functions of Run and calls of Each that are queued: at most Config.MaxQueuedFuncs
	Timers   int    // timers that are running
	Fired    uint64 // timers that have fired
	// PacketErrors counts datagrams that were queued for the end of the turn, on io_uring, and
	// that the kernel then refused.
	PacketErrors uint64

	// Stalled is the number of connections whose reading is stopped by back-pressure, and whose
	// peer has taken nothing for 5 s: neither side makes progress (Conn.SetBackpressure).
	Stalled int

	UnsentBytes int // unsent bytes, of all connections
	UnreadBytes int // bytes received and not consumed, of all connections

	BlocksLent   int // buffers in use by connections
	BytesLent    int // their size
	BytesIdle    int // size of the unused buffers kept
	MaxIdleBytes int // maximum of BytesIdle: Config.IdleBufferBytes

	// BusyTime is how long the loop has been awake: from the first callback of a turn until it
	// sleeps again. It is measured in one turn of 16 and scaled up.
	BusyTime time.Duration
	// CallbackTime is measured on one callback in 64 and scaled up; LongestCallback is the
	// longest of those and of the slow ones, for which it is a lower bound.
	CallbackTime    time.Duration
	LongestCallback time.Duration
	// SlowCallbacks is how often a callback, or another function on the loop, took longer than
	// Config.SlowCallback.
	SlowCallbacks uint64

	// Spin reports how the loop spins before it sleeps.
	Spin pollux.SpinStats

	// Failed is why the loop has ended by itself: its driver has failed, or a callback has ended
	// the loop's goroutine.
	Failed error
}

// Stats are the counters of a group since it began, and its current state.
type Stats struct {
	Backend string
	Uptime  time.Duration
	Loops   []LoopStats
	// OffloadRunning and OffloadQueued are the numbers of Offload's functions that run and that
	// are queued.
	OffloadRunning, OffloadQueued int
}

// statsTimeout is how long Stats waits for a loop that is in a callback.
const statsTimeout = 100 * time.Millisecond

// Stats collects the statistics of all loops. A loop that does not answer within 100 ms, because
// it is in a callback, has only those figures filled in that change without it: connections, queued functions, slow
// callbacks, the longest callback, Spin and Failed. So do not call Stats in a callback, but from Offload. After Shutdown it returns the
// final counters.
func (g *Group) Stats() Stats {
	s := Stats{Backend: g.Backend(), Uptime: time.Since(g.began), Loops: make([]LoopStats, len(g.loops))}
	s.OffloadRunning, s.OffloadQueued = g.offload.Stats()
	answers := make([]chan LoopStats, len(g.loops))
	for i, l := range g.loops {
		answer := make(chan LoopStats, 1)
		answers[i] = answer
		l.put(op{f: func() { answer <- l.stats() }}) // put fails if the loop is about to end
	}
	timer := time.NewTimer(statsTimeout)
	defer timer.Stop()
	for i, l := range g.loops {
		select {
		case s.Loops[i] = <-answers[i]: // preferred, even if the timeout has passed
		default:
			select {
			case s.Loops[i] = <-answers[i]:
			case <-l.ended:
				s.Loops[i] = l.stats() // the loop has ended: any goroutine may read its state
			case <-timer.C:
				timer.Reset(0)
			}
		}
		s.Loops[i].Conns = int(l.load.Load())
		s.Loops[i].Queued = int(max(l.functions.Load(), 0))
		s.Loops[i].SlowCallbacks = l.slow.Load()
		s.Loops[i].Spin = l.drv.Spin()
		s.Loops[i].LongestCallback = max(s.Loops[i].LongestCallback, time.Duration(l.slowest.Load()))
		if err := l.failed.Load(); err != nil {
			s.Loops[i].Failed = *err
		}
	}
	return s
}

func (l *Loop) stats() LoopStats {
	c := &l.counts
	b := l.blocks.Stats()
	s := LoopStats{
		Accepts: c.accepts, Refused: c.refused, BytesIn: c.bytesIn, BytesOut: c.bytesOut + l.sentDirectly.Load(),
		Messages: c.messages, PacketErrors: c.packetErrors, Turns: c.turns, Timers: l.timers.Len(), Fired: c.timers,
		BlocksLent: b.OutBlocks, BytesLent: b.OutBytes, BytesIdle: b.IdleBytes, MaxIdleBytes: b.MaxIdleBytes,
		BusyTime: time.Duration(c.busyNanos), CallbackTime: time.Duration(c.callbackNanos), LongestCallback: c.longest,
	}
	for i := range l.conns.Len() {
		conn := *l.conns.At(i)
		s.UnsentBytes += conn.Unsent()
		if conn.flags&stalled != 0 {
			s.Stalled++
		}
		if conn.in != nil {
			s.UnreadBytes += conn.in.Len()
		}
	}
	return s
}
