package loop

import (
	"fmt"
	"reflect"
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

// watch finds the callbacks that block their loop, and names them in the log.
func (g *Group) watch() {
	defer g.watching.Done()
	limit := g.config.SlowCallback
	tick := time.NewTicker(max(limit/4, time.Millisecond))
	defer tick.Stop()
	last := make([]moment, len(g.loops))
	for i := range last {
		last[i].since = g.began
	}
	for {
		select {
		case <-g.watchdog:
			return
		case now := <-tick.C:
			for i, l := range g.loops {
				l.look(i, &last[i], now, limit)
			}
		}
	}
}

// look compares what the loop runs with what it ran at the last look.
func (l *Loop) look(index int, last *moment, now time.Time, limit time.Duration) {
	m := l.moment(now)
	if !last.same(m) || !l.awake.Load() {
		*last = m
		return
	}
	took := now.Sub(last.since)
	if took < limit {
		return
	}
	if !last.slow {
		last.slow = true
		l.slow.Add(1)
		l.nameBlocker(index, m, took)
	}
	l.slowest.Store(max(l.slowest.Load(), int64(took))) // nothing else writes it
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

// nameBlocker logs what runs. It is still running, so how long it takes is not known yet.
func (l *Loop) nameBlocker(index int, m moment, took time.Duration) {
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
