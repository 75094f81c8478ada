package loop

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"time"
)

// moment is what a loop was running when the watchdog checked it, and since when.
type moment struct {
	turn   uint64
	step   uint64 // of Loop.working
	conn   *Conn  // whose callback ran: many short callbacks in one turn do not block the loop
	packet *PacketConn
	since  time.Time
	slow   bool // it has been running for Config.SlowCallback
}

// moment returns what the loop is running. It may be called from any goroutine.
func (l *Loop) moment(now time.Time) moment {
	return moment{turn: l.turn.Load(), step: l.working.step.Load(), conn: l.running.Load(), packet: l.runningPacket.Load(), since: now}
}

func (m *moment) same(n moment) bool {
	return m.turn == n.turn && m.step == n.step && m.conn == n.conn && m.packet == n.packet
}

// A watchdog controls the goroutine that looks for callbacks that block their loop. That sleeps
// while all loops do, so that an idle process uses no processor time.
type watchdog struct {
	stop   chan struct{} // closed to end it
	wake   chan struct{}
	asleep atomic.Bool
}

func newWatchdog() watchdog {
	return watchdog{stop: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// loopWoke is called by a loop that has just set awake. Either it sees that the watchdog is
// asleep, or the watchdog, which checks awake after it has set asleep, sees that the loop is
// awake.
func (w *watchdog) loopWoke() {
	if w.asleep.Load() && w.asleep.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

// quietTicks is the number of consecutive ticks without activity after which the watchdog
// sleeps, so that loops with occasional work do not wake it each time.
const quietTicks = 8

// runWatchdog finds callbacks that block their loop, and logs them.
func (g *Group) runWatchdog() {
	defer g.watching.Done()
	limit := g.config.SlowCallback
	interval := max(limit/4, time.Millisecond)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last := make([]moment, len(g.loops))
	for i := range last {
		last[i].since = g.began
	}
	for quiet := 0; ; {
		select {
		case <-g.watchdog.stop:
			return
		case now := <-tick.C:
			quiet++
			for i, l := range g.loops {
				if l.checkBlocked(i, &last[i], now, limit) {
					quiet = 0
				}
			}
			if quiet < quietTicks {
				continue
			}
		}
		tick.Stop()
		if !g.sleepUntilWoken() {
			return
		}
		for i, l := range g.loops { // restart all measurements
			last[i] = l.moment(time.Now())
		}
		quiet = 0
		tick.Reset(interval)
	}
}

// sleepUntilWoken returns false if the watchdog should end.
func (g *Group) sleepUntilWoken() bool {
	w := &g.watchdog
	w.asleep.Store(true)
	for _, l := range g.loops {
		if l.awake.Load() && w.asleep.CompareAndSwap(true, false) {
			return true
		}
	}
	select {
	case <-w.wake:
		return true
	case <-w.stop:
		return false
	}
}

// checkBlocked compares what the loop is running with the last check. It reports whether the
// loop has been awake since then.
func (l *Loop) checkBlocked(index int, last *moment, now time.Time, limit time.Duration) bool {
	m := l.moment(now)
	if awake := l.awake.Load(); !awake || !last.same(m) {
		awake = awake || !last.same(m)
		*last = m
		return awake
	}
	took := now.Sub(last.since)
	if took < limit {
		return true
	}
	if !last.slow {
		last.slow = true
		l.slow.Add(1)
		l.logBlocker(index, m, took)
	}
	l.slowest.Store(max(l.slowest.Load(), int64(took))) // the watchdog is the only writer
	return true
}

// noHandler is the handlerName of a connection whose accept function runs.
const noHandler = "<nil>"

// acceptName returns the name of the function that is to return the handler.
func (c *Conn) acceptName() string {
	if c.accepted != nil {
		return funcName(reflect.ValueOf(c.accepted.accept).Pointer())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return funcName(reflect.ValueOf(c.extras.dial.accept).Pointer())
}

// logBlocker logs what is running. It is still running, so its duration is not known yet.
func (l *Loop) logBlocker(index int, m moment, took time.Duration) {
	args := []any{"loop", index, "for at least", took}
	switch w := workOf(m.step); {
	case m.conn != nil && m.conn.handlerName() == noHandler:
		args = append(args, "remote", m.conn.RemoteAddr(), "function", m.conn.acceptName())
	case m.conn != nil:
		args = append(args, "remote", m.conn.RemoteAddr(), "handler", m.conn.handlerName())
	case m.packet != nil:
		args = append(args, "local", m.packet.LocalAddr(), "handler", fmt.Sprintf("%T", m.packet.handler))
	case w != workNone:
		pc := l.working.pc.Load()
		if l.working.step.Load() == m.step { // otherwise it has just returned
			args = append(args, "what", w.String(), "function", funcName(pc))
		}
	}
	l.g.logs.slow.Warn("pollux: a callback blocks its loop, and every connection of it; use Offload for blocking work", args...)
}
