package loop

import (
	"cmp"
	"time"

	"github.com/pollux-io/pollux"
)

// counts belong to the loop; Stats reads them there.
type counts struct {
	turns, accepts, refused, messages uint64
	bytesIn, bytesOut                 uint64
	attached, layerFailures           uint64
	callbacks, timers                 uint64
	packetErrors                      uint64
	callbackNanos, busyNanos          int64
	longest                           time.Duration
}

// LoopStats are the counters of one loop since it began, and its current state.
type LoopStats struct {
	// Partial reports that the loop has not answered, because it was in a callback: only Conns,
	// Turns, Queued, the buffers' figures (BlocksLent to MaxIdleBytes), LongestCallback,
	// SlowCallbacks, Spin and Failed are set. The others are zero.
	Partial bool

	Conns    int    // connections, those that are being dialed or closed included
	Accepts  uint64 // connections accepted
	Attached uint64 // connections that came by Attach and AttachStream
	Refused  uint64 // connections refused for MaxConns
	// LayerFailures counts connections that have ended before their layer, such as TLS, had connected:
	// the handshake has failed or was cut off.
	LayerFailures uint64
	BytesIn       uint64 // bytes received, including datagrams; with TLS, those that were decrypted
	BytesOut      uint64 // bytes sent, including datagrams; with TLS, those before encryption, without the handshake's
	Messages      uint64 // calls of Data, and datagrams received
	Turns         uint64 // turns of the loop: each waits once for events, and handles them
	Queued        int    // functions of Run and calls of Each that are queued: at most Config.MaxQueuedFuncs
	Timers        int    // timers that are running
	Fired         uint64 // timers that have fired
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

// Stats collects the statistics of all loops. It waits for them, but 100 ms at the most: a loop
// that is in a callback for longer has LoopStats.Partial set. In a callback of the group it does
// not wait at all: it returns the figures of the loop that it is called on, and partial ones of the
// other loops. For complete ones call it on another goroutine, such as from Offload. After Shutdown
// it returns the final counters.
func (g *Group) Stats() Stats {
	s := Stats{Backend: g.Backend(), Uptime: g.clock.since(), Loops: make([]LoopStats, len(g.loops))}
	s.OffloadRunning, s.OffloadQueued = g.offload.Stats()
	if own := g.currentLoop(); own != nil {
		g.statsOnLoop(own, s.Loops)
	} else {
		g.awaitStats(s.Loops)
	}
	for i, l := range g.loops {
		l.addOutsideStats(&s.Loops[i])
	}
	return s
}

// statsOnLoop sets the statistics of own, which is the caller's loop, and of those that have ended.
func (g *Group) statsOnLoop(own *Loop, all []LoopStats) {
	for i, l := range g.loops {
		if l == own || l.hasEnded() {
			all[i] = l.stats()
		} else {
			all[i].Partial = true
		}
	}
}

// awaitStats sets the statistics of the loops that answer within statsTimeout.
func (g *Group) awaitStats(all []LoopStats) {
	answers := make([]chan LoopStats, len(g.loops))
	for i, l := range g.loops {
		answer := make(chan LoopStats, 1)
		answers[i] = answer
		l.put(op{f: func() { answer <- l.stats() }}) // put fails if the loop is about to end
	}
	timer := time.NewTimer(cmp.Or(g.statsTimeout, statsTimeout))
	defer timer.Stop()
	for i, l := range g.loops {
		select {
		case all[i] = <-answers[i]: // preferred, even if the timeout has passed
		default:
			select {
			case all[i] = <-answers[i]:
			case <-l.ended:
				all[i] = l.stats() // the loop has ended: any goroutine may read its state
			case <-timer.C:
				all[i].Partial = true
				timer.Reset(0)
			}
		}
	}
}

// addOutsideStats sets the figures that any goroutine may read while the loop runs.
func (l *Loop) addOutsideStats(s *LoopStats) {
	s.Conns = int(l.load.Load())
	s.Queued = int(max(l.functions.Load(), 0))
	s.Turns = max(s.Turns, l.turn.Load())
	s.SlowCallbacks = l.slow.Load()
	s.LongestCallback = max(s.LongestCallback, time.Duration(l.slowest.Load()))
	s.Spin = l.drv.Spin()
	b := l.blocks.Stats()
	s.BlocksLent, s.BytesLent, s.BytesIdle, s.MaxIdleBytes = b.OutBlocks, b.OutBytes, b.IdleBytes, b.MaxIdleBytes
	if err := l.failed.Load(); err != nil {
		s.Failed = *err
	}
}

// stats returns the figures that only the loop may read.
func (l *Loop) stats() LoopStats {
	c := &l.counts
	s := LoopStats{
		Accepts: c.accepts, Attached: c.attached, Refused: c.refused, LayerFailures: c.layerFailures, BytesIn: c.bytesIn, BytesOut: c.bytesOut + l.sentDirectly.Load(),
		Messages: c.messages, PacketErrors: c.packetErrors, Turns: c.turns, Timers: l.timers.Len(), Fired: c.timers,
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
