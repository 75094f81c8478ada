package loop

import (
	"fmt"
	"reflect"
	"time"

	"github.com/pollux-io/pollux/internal/watchdog"
)

// moment is what a loop is running.
type moment struct {
	turn   uint64
	step   uint64 // of Loop.working
	conn   *Conn  // whose callback runs: many short callbacks in one turn do not block the loop
	packet *PacketConn
}

// watchedLoop is a loop as its group's watchdog sees it.
type watchedLoop struct {
	*Loop
	index int
}

var _ watchdog.Subject[moment] = watchedLoop{}

// startWatchdog starts the search for callbacks that block their loop.
func (g *Group) startWatchdog() {
	var subjects []watchdog.Subject[moment]
	for i, l := range g.loops {
		subjects = append(subjects, watchedLoop{l, i})
	}
	g.watchdog.Start(g.config.SlowCallback, subjects)
}

// Awake implements watchdog.Subject.
func (l watchedLoop) Awake() bool { return l.awake.Load() }

// Running implements watchdog.Subject.
func (l watchedLoop) Running() moment {
	return moment{turn: l.turn.Load(), step: l.working.step.Load(), conn: l.running.Load(), packet: l.runningPacket.Load()}
}

// Blocked implements watchdog.Subject.
func (l watchedLoop) Blocked(m moment, took time.Duration, first bool) {
	if first {
		l.slow.Add(1)
		l.logBlocker(l.index, m, took)
	}
	l.slowest.Store(max(l.slowest.Load(), int64(took))) // the watchdog is the only writer
}

// noHandler is the handlerName of a connection whose accept function runs.
const noHandler = "<nil>"

// acceptName returns the name of the function that is to return the handler.
func (c *Conn) acceptName() string {
	if c.accepted == &c.loop.g.attached {
		return funcName(c.loop.working.pc.Load())
	}
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
	case m.conn != nil && w == workOffloaded:
		args = append(l.appendFunction(args, m.step), "remote", m.conn.RemoteAddr(), "handler", m.conn.handlerName())
	case m.conn != nil:
		args = append(args, "remote", m.conn.RemoteAddr(), "handler", m.conn.handlerName())
	case m.packet != nil:
		args = append(args, "local", m.packet.LocalAddr(), "handler", fmt.Sprintf("%T", m.packet.handler))
	case w != workNone:
		args = l.appendFunction(args, m.step)
	}
	what := "pollux: a callback blocks its loop, and every connection of it; use Offload for blocking work"
	if m.conn != nil && m.conn.isPassive() {
		what = "pollux: a loop does not get to run: none of the program's code runs on it at present, so the processors are busy with other work, or the process was stopped"
	}
	l.g.logs.slow.Warn(what, args...)
}

// appendFunction appends the kind and the name of the function that a step runs, unless it has
// just returned.
func (l *Loop) appendFunction(args []any, step uint64) []any {
	pc := l.working.pc.Load()
	if l.working.step.Load() != step {
		return args
	}
	return append(args, "what", workOf(step).String(), "function", funcName(pc))
}
