package loop

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"time"
)

// moment is what a loop was seen to run, and since when.
type moment struct {
	turn   uint64
	step   uint64 // of Loop.working
	conn   *Conn  // whose callback ran: many short ones in a turn block nothing
	packet *PacketConn
	since  time.Time
	slow   bool // it has taken as long as Config.SlowCallback
}

// moment returns what the loop runs now. It may be called from any goroutine.
func (l *Loop) moment(now time.Time) moment {
	return moment{turn: l.turn.Load(), step: l.working.step.Load(), conn: l.running.Load(), packet: l.runningPacket.Load(), since: now}
}

func (m *moment) same(n moment) bool {
	return m.turn == n.turn && m.step == n.step && m.conn == n.conn && m.packet == n.packet
}

// A watchdog wakes the goroutine that looks for callbacks that block their loop. It sleeps
// while all loops do, so that an idle process is idle.
type watchdog struct {
	stop   chan struct{} // closed to end it
	wake   chan struct{}
	asleep atomic.Bool
}

func newWatchdog() watchdog {
	return watchdog{stop: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// loopWoke is called by a loop that has just set awake. Either it sees that the watchdog
// sleeps, or the watchdog, which looks after it has set asleep, sees that the loop is awake.
func (w *watchdog) loopWoke() {
	if w.asleep.Load() && w.asleep.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

// quietTicks is for how many ticks nothing must have happened before the watchdog sleeps:
// loops that have something to do now and then do not wake it each time.
const quietTicks = 8

// watch finds the callbacks that block their loop, and names them in the log.
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
		for i, l := range g.loops { // as if each had begun what it does now
			last[i] = l.moment(time.Now())
		}
		quiet = 0
		tick.Reset(interval)
	}
}

// sleepUntilWoken returns false if the watchdog is to end.
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

// look compares what the loop runs with what it ran at the last look. It reports whether the
// loop was awake meanwhile.
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
	l.slowest.Store(max(l.slowest.Load(), int64(took))) // nothing else writes it
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

// logBlocker logs what runs. It is still running, so how long it takes is not known yet.
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
		if l.working.step.Load() == m.step { // else it has just returned
			args = append(args, "what", w.String(), "function", funcName(pc))
		}
	}
	l.g.logs.slow.warn("pollux: a callback blocks its loop, and every connection of it; use Offload for work that waits", args...)
}
