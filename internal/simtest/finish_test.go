package simtest

import (
	"errors"
	"fmt"
	"math"
	"slices"
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
	w.unblock(true)
	w.settle(func(e *end) string { return e.missingLocked() + e.missingRestLocked() })
	w.unblock(false)
	w.settle((*end).missingLocked)
	w.locked(w.noteArrivedLocked)
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

// unblock removes the limits of what peers read, or pauses and limits of the loops' ends.
func (w *world) unblock(peers bool) {
	for _, c := range w.conns {
		for _, e := range c.ends {
			if peers == (e.player != nil) {
				e.unblock()
			}
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
func (w *world) settle(missing func(*end) string) {
	if w.waitUntil(quiet, func() bool {
		return w.packets.missingLocked() == "" && !slices.ContainsFunc(w.conns, func(c *conn) bool { return missing(c.ends[0])+missing(c.ends[1]) != "" })
	}) {
		return
	}
	w.locked(func() {
		if what := w.packets.missingLocked(); what != "" {
			w.failLocked("UDP is missing " + what)
		}
		for _, c := range w.conns {
			for _, e := range c.ends {
				if what := missing(e); what != "" {
					e.failedLocked("is missing %s", what)
				}
			}
		}
	})
}

// missingRestLocked returns what is missing at an end whose Data has left what it could not write.
func (e *end) missingRestLocked() string {
	k := &e.inc.known
	if e.player == nil && k.opened && k.echo == echoWhole && k.mode.op == opConsume && k.mode.n == 0 && k.left > 0 && !k.paused && !k.fin &&
		e.peer.readsLocked() && !e.mayBeClosedLocked() {
		return "the rest, though all that Data has written was sent"
	}
	return ""
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
		!(k.backpressure && e.inc.lc.Unsent() > k.low)
}

// noteArrivedLocked notes what the ends have received before they are closed.
func (w *world) noteArrivedLocked() {
	for _, c := range w.conns {
		for _, e := range c.ends {
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
	switch {
	case some && round == 0:
		w.settle((*end).missingEOFLocked)
	case some:
		w.waitUntil(quiet, w.allClosedLocked)
	}
	return some
}

// missingEOFLocked returns what is missing at an end whose peer has sent everything and FIN.
func (e *end) missingEOFLocked() string {
	from, k := e.peer, &e.inc.known
	switch {
	case from.dueLocked() < from.out.sent || e.c.disturbedLocked() || e.c.cutLocked() || e.c.kind == relayed && e.c.relayCutLocked():
		return ""
	case from.player != nil && !from.player.finSent:
		return ""
	case from.player == nil && !from.inc.fin && !from.inc.did(opClose, opCloseWith, opDataError):
		return ""
	case e.player != nil && e.player.conn != nil && !e.player.dead && !e.player.noread:
		return "EOF"
	case e.player == nil && e.readsLocked() && !k.eof:
		return "ReadClosed, or Closed"
	}
	return ""
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
	w.locked(func() {
		for _, c := range w.conns {
			e := c.ends[0]
			if c.opening && (c.kind == accepted || c.kind == fanned) && e.player == nil && e.inc.lc == nil && !e.dropped && !e.moving && !c.disturbedLocked() &&
				c.ends[1].player.conn != nil && !c.ends[1].player.dead {
				e.failedLocked("was never accepted")
			}
		}
	})
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
