package loop

import (
	"fmt"
	"time"
)

// watch names callbacks that block their loop: one whose turn does not end.
func (g *Group) watch() {
	defer g.watching.Done()
	limit := g.config.SlowCallback
	tick := time.NewTicker(max(limit/4, time.Millisecond))
	defer tick.Stop()
	type seen struct {
		turn  uint64
		conn  *Conn // whose callback ran: many short ones in a turn block nobody
		since time.Time
		told  bool
	}
	last := make([]seen, len(g.loops))
	for i := range last {
		last[i].since = g.began
	}
	for {
		select {
		case <-g.watchdog:
			return
		case now := <-tick.C:
			for i, l := range g.loops {
				s := &last[i]
				if turn, c := l.turn.Load(), l.running.Load(); turn != s.turn || c != s.conn || !l.awake.Load() {
					*s = seen{turn: turn, conn: c, since: now}
					continue
				}
				if now.Sub(s.since) < limit || s.told {
					continue
				}
				s.told = true
				l.nameBlocker(i, now.Sub(s.since))
			}
		}
	}
}

func (l *Loop) nameBlocker(index int, since time.Duration) {
	l.slow.Add(1)
	args := []any{"loop", index, "for at least", since}
	if c := l.running.Load(); c != nil {
		args = append(args, "remote", c.RemoteAddr(), "handler", c.handlerName())
	} else if p := l.runningPacket.Load(); p != nil {
		args = append(args, "local", p.LocalAddr(), "handler", fmt.Sprintf("%T", p.handler))
	}
	l.g.config.Logger.Warn("pollux: a callback blocks its loop, and every connection of it; use Offload for work that waits", args...)
}
