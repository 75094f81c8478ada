package loop

import (
	"time"

	"github.com/pollux-io/pollux"
)

// counts are a loop's own; Stats reads them on the loop.
type counts struct {
	turns, accepts, refused, messages uint64
	bytesIn, bytesOut                 uint64
	callbacks, timers                 uint64
	packetErrors                      uint64
	callbackNanos, busyNanos          int64
	longest                           time.Duration
}

// LoopStats is what one loop has done since it began, and holds now.
type LoopStats struct {
	Conns    int    // open connections
	Accepts  uint64 // connections accepted
	Refused  uint64 // connections refused for MaxConns
	BytesIn  uint64 // received, in datagrams too
	BytesOut uint64 // sent, in datagrams too
	Messages uint64 // calls of Data, and datagrams received
	Turns    uint64 // turns of the loop: each waits once, and does what there is to do
	Queued   int    // functions of Run that wait: at most Config.MaxQueued
	Timers   int    // timers that run
	Fired    uint64 // timers that have fired
	// PacketErrors counts datagrams that were taken to be sent with the turn, on io_uring,
	// and that the kernel then refused.
	PacketErrors uint64

	// Stalled counts connections whose reading is stopped by back-pressure, and whose peer has
	// taken nothing for 5 s: neither side makes progress (Conn.SetBackpressure).
	Stalled int

	UnsentBytes int // waiting to be sent, over all connections
	UnreadBytes int // waiting to be consumed, over all connections

	BlocksLent   int // buffers that connections have now
	BytesLent    int // their size
	BytesIdle    int // size of the buffers kept for later
	MaxIdleBytes int // at most so much is kept: Config.IdleBuffers

	// BusyTime is how long the loop has been awake: from the first callback of a turn
	// until it sleeps again. It is measured in one turn of 16 and scaled up.
	BusyTime time.Duration
	// Time in callbacks is measured on one in 64 and scaled up; the longest is that of those
	// measured, and of the slow ones, which take so long at least.
	CallbackTime    time.Duration
	LongestCallback time.Duration
	// SlowCallbacks is how often a callback, or another function on the loop, took longer than
	// Config.SlowCallback.
	SlowCallbacks uint64

	// Spin is how the loop spins before it sleeps.
	Spin pollux.SpinStats

	// Failed is why the loop has ended by itself: its driver has failed, or a callback has
	// ended the loop's goroutine.
	Failed error
}

// Stats is what a group has done since it began, and holds now.
type Stats struct {
	Backend string
	Uptime  time.Duration
	Loops   []LoopStats
	// OffloadRunning and OffloadQueued are the work of Offload that runs and waits.
	OffloadRunning, OffloadQueued int
}

// statsTimeout is how long Stats waits for a loop that is in a callback.
const statsTimeout = 100 * time.Millisecond

// Stats asks every loop. One that does not answer within 100 ms, because a callback
// blocks it, has only its number of connections, queued functions
// and slow callbacks filled in. So do not call it in a callback, but from Offload. After Shutdown, it says what
// has been done in all.
func (g *Group) Stats() Stats {
	s := Stats{Backend: g.Backend(), Uptime: time.Since(g.began), Loops: make([]LoopStats, len(g.loops))}
	s.OffloadRunning, s.OffloadQueued = g.offload.stats()
	answers := make([]chan LoopStats, len(g.loops))
	for i, l := range g.loops {
		answer := make(chan LoopStats, 1)
		answers[i] = answer
		l.put(op{f: func() { answer <- l.stats() }}) // or the loop is about to end
	}
	patience := time.NewTimer(statsTimeout)
	defer patience.Stop()
	for i, l := range g.loops {
		select {
		case s.Loops[i] = <-answers[i]: // also if patience has ended
		default:
			select {
			case s.Loops[i] = <-answers[i]:
			case <-l.ended:
				s.Loops[i] = l.stats() // nothing is the loop's own any more
			case <-patience.C:
				patience.Reset(0)
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
			s.UnreadBytes += conn.in.hi - conn.in.lo
		}
	}
	return s
}
