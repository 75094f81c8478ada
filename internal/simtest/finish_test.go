package simtest

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// quiet is a time after which everything has happened that was going to: an unanswered segment is sent
// again within two minutes.
const quiet = 5 * time.Minute

// finish ends everything, and checks that nothing is missing.
func (w *world) finish() {
	w.wait(10 * time.Millisecond) // what was started on loops
	for _, h := range w.hosts {
		w.heal(h)
	}
	w.server.SetMaxDescriptors(math.MaxInt)
	w.unblock()
	w.settle()
	w.locked(w.checkQuietLocked)
	for round := range 2 + len(w.conns) {
		if !w.closeSome(round) {
			break
		}
	}
	w.shutdown()
	w.locked(func() {
		for _, c := range w.conns {
			for _, e := range c.ends {
				e.checkEndLocked()
			}
			if c.relays != 0 {
				w.failedLocked(c, "OnEnd was not called")
			}
		}
		if w.shared != 0 {
			w.failLocked(fmt.Sprintf("%d messages of NewSharedFunc were not freed", w.shared))
		}
		w.checkTimersLocked()
	})
	w.checkReturned()
	w.n.Close()
}

// unblock removes pauses and limits of reading.
func (w *world) unblock() {
	for _, c := range w.conns {
		for _, e := range c.ends {
			e.unblock()
		}
	}
}

func (e *end) unblock() {
	w := e.c.w
	var p *player
	var todo []step
	w.locked(func() {
		if p = e.player; p != nil {
			p.budget, p.slow, p.most = unlimited, false, 0
		}
		todo, e.todo = e.todo, nil
	})
	if p != nil {
		p.reader.Wake()
		p.writer.Wake()
		return
	}
	over := false
	w.locked(func() { over = e.inc.lc == nil || !e.inc.opened || e.inc.closed || len(e.inc.ended) > 0 })
	if over {
		return
	}
	for _, s := range todo { // for callbacks that were not called
		if s.op != opPanic && s.op != opDataError {
			e.do(e.inc, s, false)
		}
	}
	for _, o := range []op{opConsume, opEcho, opPause, opResume} {
		e.do(e.inc, step{op: o}, false)
	}
}

// settle waits until nothing is missing, or nothing more will happen.
func (w *world) settle() {
	w.waitUntil(quiet, func() bool {
		if w.packets.missingLocked() != "" {
			return false
		}
		for _, c := range w.conns {
			for _, e := range c.ends {
				if e.missingLocked() != "" {
					return false
				}
			}
		}
		return true
	})
}

// missingLocked returns what is still to happen at an end, if the other one reads.
func (e *end) missingLocked() string {
	p, k := e.player, &e.inc.known
	switch {
	case e.finishedLocked():
		return ""
	case p != nil && p.connecting && !e.c.disturbedLocked() && e.c.w.p.setting.maxConns == 0 && !e.peer.finishedLocked():
		return "the connection"
	case e.moving && e.c.w.p.setting.maxConns == 0:
		return "Opened after a move"
	case p != nil && p.conn != nil && p.queued > 0 && !p.nowrite && e.peer.readsLocked():
		return "the bytes that a peer writes"
	case e.readsLocked() && e.in.seen < e.peer.dueLocked():
		return fmt.Sprintf("bytes: received %d, want %d", e.in.seen, e.peer.dueLocked())
	case k.opened && !k.closed && e.mustDeliverUnreadLocked() && k.drainDue && p == nil && e.peer.readsLocked() && !e.c.disturbedLocked():
		return "Drained"
	case k.did(opAbort, opAbortWith) && !k.closed:
		return "Closed"
	case k.offloads > 0 && k.opened && !e.mayBeClosedLocked():
		return "an Offload's done"
	}
	return ""
}

// readsLocked reports whether the end receives everything now.
func (e *end) readsLocked() bool {
	if p := e.player; p != nil {
		return !p.dead && !p.noread && p.conn != nil
	}
	k := &e.inc.known
	return !e.c.isPeer(e.i) && k.opened && !k.closed && !k.paused && len(k.ended) == 0 && !k.full && k.mode.op == opConsume && k.mode.n == 0 && !e.moving && !e.dropped &&
		!(k.backpressure && !e.peer.readsAllLocked())
}

// checkQuietLocked checks that nothing is missing.
func (w *world) checkQuietLocked() {
	if what := w.packets.missingLocked(); what != "" {
		w.failLocked("UDP is missing " + what)
	}
	for _, c := range w.conns {
		for _, e := range c.ends {
			if what := e.missingLocked(); what != "" {
				e.failedLocked("is missing %s", what)
			}
			e.out.arrived = max(e.out.arrived, min(e.out.sent, e.peer.in.seen))
		}
	}
}

// closeSome closes ends that are open, and reports whether there were some. In round 0 only those that
// end first are closed, or half-closed.
func (w *world) closeSome(round int) (some bool) {
	for _, c := range w.conns {
		for i, e := range c.ends {
			open := false
			w.locked(func() { open = c.opening && !e.finishedLocked() })
			if some = some || open; !open || round == 0 && i != c.first {
				continue
			}
			e.close(round == 0 && c.halfFirst)
		}
	}
	if some {
		w.waitUntil(quiet, w.allClosedLocked)
	}
	return some
}

func (w *world) allClosedLocked() bool {
	for _, c := range w.conns {
		for _, e := range c.ends {
			if c.opening && !e.finishedLocked() {
				return false
			}
		}
	}
	return true
}

// close closes an end, or half-closes it.
func (e *end) close(half bool) {
	var p *player
	over := false
	e.locked(func() {
		if p = e.player; p != nil {
			p.fin = true
		}
		over = p != nil || e.inc.lc == nil || !e.inc.opened || e.inc.did(opClose, opCloseWith, opAbort, opAbortWith, opPanic, opDataError)
	})
	if p != nil {
		p.reader.Wake()
		p.writer.Wake()
	}
	switch {
	case over:
	case half:
		e.do(e.inc, step{op: opCloseWrite}, false)
	default:
		e.do(e.inc, step{op: opClose}, false)
	}
}

// shutdown ends the groups and the peers that have not connected.
func (w *world) shutdown() {
	for _, g := range w.groups {
		g.beginShutdown()
	}
	for _, c := range w.conns {
		if c.peerLn != nil {
			c.peerLn.Close()
		}
	}
	for _, g := range w.groups {
		time.AfterFunc(quiet, g.cancel) // a bound: everything is closed already
		err := <-g.shutdown
		g.cancel()
		if cut := new(loop.ShutdownError); err != nil && !(g.isCut && errors.As(err, &cut)) {
			w.fail(fmt.Sprintf("Shutdown: %v", err))
		}
	}
	for _, c := range w.conns {
		for _, e := range c.ends {
			if p := e.player; p != nil {
				p.end(true)
			}
		}
	}
	w.packets.close()
	w.wait(time.Second)
}

// checkReturned checks that the groups have returned everything.
func (w *world) checkReturned() {
	for _, g := range w.groups {
		for i, s := range g.g.Stats().Loops {
			if s.Conns != 0 || s.UnsentBytes != 0 || s.UnreadBytes != 0 || s.BlocksLent != 0 || s.BytesLent != 0 || s.Queued != 0 || s.BytesIdle > s.MaxIdleBytes || s.Failed != nil {
				w.fail(fmt.Sprintf("group %d, loop %d: %+v", g.i, i, s))
			}
		}
		if n := g.g.Conns(); n != 0 || g.fanout.Len() != 0 {
			w.fail(fmt.Sprintf("group %d has %d connections, and its Fanout %d", g.i, n, g.fanout.Len()))
		}
	}
	if n := w.server.Descriptors(); n != 0 {
		w.fail(fmt.Sprintf("%d descriptors are open on the groups' host", n))
	}
	for _, h := range w.hosts {
		if n := h.Descriptors(); n != 0 {
			w.fail(fmt.Sprintf("%d descriptors are open on a peers' host", n))
		}
	}
}
