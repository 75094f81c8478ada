package simtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pollux-io/pollux/loop"
)

const longTimeout = 1000 * time.Hour // never expires in a run

// end is an end of a connection: a handler of a group, or a peer. A detached connection continues as a
// peer, and one that moves to another loop as another incarnation. The world's mu guards it.
type end struct {
	c        *conn
	i        int
	peer     *end
	out      flow  // what this end sends
	in       *flow // what it receives
	consumed int   // bytes of in that Data has consumed, or a player has read
	todo     []step

	inc     *incarnation
	player  *player
	moving  bool // between two incarnations
	dropped bool // a move has failed
}

// incarnation is a connection of a loop. An end has one after the other.
type incarnation struct {
	lc  *loop.Conn
	ctx context.Context
	known
}

// known is the known state of a connection of a loop.
type known struct {
	left int // bytes that Data has left

	opened, inside, closed bool
	why                    error
	handlers               int  // how often SetHandler was called
	owned                  int  // calls of WriteOwned whose done is still to be called
	lost                   bool // done of WriteOwned got an error
	paused, pausedInside   bool
	redeliver              bool // Resume was called, so the left bytes must be delivered again
	above, drainDue        bool // Unsent was above the high watermark; Drained is due
	drains                 int  // calls of Drained
	high, low              int  // the watermarks
	backpressure           bool
	echo                   int  // echoOff, echoAll or echoWhole
	mode                   step // opConsume or opTakeOnly
	endedInside            bool
	fin, eof               bool          // CloseWrite was called; ReadClosed was called
	ended                  []op          // the operations called that end the connection
	full                   bool          // it left MaxUnreadBytes
	deadline               time.Time     // a timeout must not expire before
	idle                   time.Duration // the idle timeout; 0: none
	detachings             int           // functions of Detach that are still to be called
	offloads               int           // dones of Offload that are still to be called, or dropped
}

func (e *end) String() string {
	s := fmt.Sprintf("  end %d: out%s; in%s; %s, mode %v %d, ended by %v, Closed got %v", e.i, nonzero(e.out), nonzero(*e.in), nonzero(e.inc.known), e.inc.mode.op, e.inc.mode.n, e.inc.ended, e.inc.why)
	if e.player != nil {
		s += fmt.Sprintf("; a peer:%s, reading got %v", nonzero(*e.player), e.player.readErr)
	}
	return s
}

// nonzero formats the fields of a struct that are true or nonzero numbers.
func nonzero(x any) string {
	var b strings.Builder
	v := reflect.ValueOf(x)
	for i := range v.NumField() {
		if f := v.Field(i); !f.IsZero() && (f.Kind() == reflect.Int || f.Kind() == reflect.Bool) {
			fmt.Fprintf(&b, " %s %+v", v.Type().Field(i).Name, f)
		}
	}
	return b.String()
}

func (e *end) locked(f func()) { e.c.w.locked(f) }

func (e *end) failedLocked(format string, args ...any) {
	e.c.w.failedLocked(e.c, "end %d: "+format, append([]any{e.i}, args...)...)
}

// did reports whether one of ops was called. The caller must hold the world's mu.
func (k *known) did(ops ...op) bool {
	return slices.ContainsFunc(ops, func(o op) bool { return slices.Contains(k.ended, o) })
}

// checkBytesLocked checks bytes that were received, which begin at an offset of the stream.
func (e *end) checkBytesLocked(b []byte, at int) {
	if bad := e.in.differs(b, at); bad >= 0 {
		e.failedLocked("received bytes that differ from those sent, from offset %d on", bad)
	}
	if at+len(b) > e.in.offered {
		e.failedLocked("received %d bytes, of %d that were sent", at+len(b), e.in.offered)
	}
}

// handler is an end without ReadClosed; number is how many handlers SetHandler had set before.
type handler struct {
	*end
	inc    *incarnation
	number int
}

// fullHandler is an end with all optional methods.
type fullHandler struct{ handler }

var (
	_ loop.Handler           = handler{}
	_ loop.OpenedHandler     = handler{}
	_ loop.DrainedHandler    = handler{}
	_ loop.ClosedHandler     = handler{}
	_ loop.ShutdownHandler   = handler{}
	_ loop.ReadClosedHandler = fullHandler{}
)

// accept makes the incarnation of a connection.
func (e *end) accept(lc *loop.Conn) loop.Handler {
	e.c.w.called()
	e.locked(func() {
		e.moving = false
		e.inc.lc = lc
		s := e.c.w.p.setting
		e.inc.high, e.inc.low, e.inc.mode.op = s.high, s.low, opConsume
	})
	return e.handler(e.inc, 0)
}

func (e *end) handler(inc *incarnation, number int) loop.Handler {
	if e.c.noReadClosed[e.i] {
		return handler{e, inc, number}
	}
	return fullHandler{handler{e, inc, number}}
}

// enter is called first in every callback, checks it, and returns the steps to do in it.
func (h handler) enter(what string) (now []step) {
	h.c.w.called()
	h.locked(func() {
		k := &h.inc.known
		switch {
		case k.inside:
			h.failedLocked("%s was called inside another callback", what)
		case k.closed:
			h.failedLocked("%s was called after Closed", what)
		case k.opened == (what == "Opened"):
			h.failedLocked("%s was called before Opened, or Opened twice", what)
		case h.number != k.handlers:
			h.failedLocked("%s was called on handler %d, want handler %d", what, h.number, k.handlers)
		}
		k.inside, k.opened = true, true
		if what == "Closed" {
			return
		}
		var later []step
		for _, s := range h.todo {
			if s.op == opDataError && what != "Data" {
				later = append(later, s)
			} else {
				now = append(now, s)
			}
		}
		h.todo = later
	})
	return now
}

func (h handler) leave() { h.locked(func() { h.inc.inside = false }) }

// act does steps in a callback; Data must return the error.
func (h handler) act(steps []step) (err error) {
	for _, s := range steps {
		switch s.op {
		case opPanic:
			h.locked(func() { h.inc.ended, h.inc.endedInside = append(h.inc.ended, opPanic), true })
			panic(errModel)
		case opDataError:
			h.locked(func() { h.inc.ended, h.inc.endedInside = append(h.inc.ended, opDataError), true })
			err = errData
		default:
			h.do(h.inc, s, true)
		}
	}
	return err
}

func (h handler) Opened(lc *loop.Conn) {
	steps := h.enter("Opened")
	defer h.leave()
	isMember := false
	h.locked(func() {
		h.inc.ctx = lc.Context()
		h.inc.backpressure = h.i == 0 && h.c.kind != dialed || h.consumed > 0
		if n, most := lc.Loop().Group().Conns(), h.c.w.p.setting.maxConns; most > 0 && n > most {
			h.failedLocked("Conns() = %d, want at most %d", n, most)
		}
		if h.c.kind == fanned {
			isMember = true
			h.out.offset = h.c.g.fanSent
		}
	})
	if isMember {
		if err := h.c.g.fanout.Add(lc); err != nil {
			h.locked(func() { h.failedLocked("Fanout.Add: %v", err) })
		}
	}
	h.act(steps)
}

func (h handler) Data(lc *loop.Conn, b []byte) (n int, err error) {
	steps := h.enter("Data")
	defer h.leave()
	var pauses bool
	var echo, before int
	h.locked(func() {
		n, pauses = h.dataLocked(lc, b)
		echo, before = h.inc.echo, h.out.sent
	})
	if echo != echoOff && n > 0 {
		h.do(h.inc, step{op: opWrite, n: n}, true)
	}
	if echo == echoWhole {
		n = h.out.sent - before // the rest is to be delivered again when it can be written
	}
	if pauses {
		h.do(h.inc, step{op: opPause}, true)
	}
	defer h.locked(func() {
		k := &h.inc.known
		h.consumed += n
		k.left = len(b) - n
		k.redeliver = k.redeliver && k.left > 0 // Resume in this call did not know that nothing is left
		k.full = k.full || k.left >= h.c.w.p.setting.maxUnread && !k.pausedInside
	})
	return n, h.act(steps)
}

// dataLocked checks b, and returns how much of it is consumed, and whether Data pauses.
func (h handler) dataLocked(lc *loop.Conn, b []byte) (n int, pauses bool) {
	k := &h.inc.known
	switch {
	case k.pausedInside:
		h.failedLocked("Data was called after Pause")
	case k.endedInside:
		h.failedLocked("Data was called after an operation that ends the connection")
	case k.above && !h.peer.mayResetLocked() && lc.Unsent() > k.low:
		h.failedLocked("Data was called above the high watermark")
	case len(b) == 0 || len(b) < k.left:
		h.failedLocked("Data got %d bytes, although %d were left", len(b), k.left)
	case k.eof && h.consumed+len(b) > h.in.seen:
		h.failedLocked("Data got new bytes after ReadClosed")
	}
	h.checkBytesLocked(b, h.consumed)
	if k.idle > 0 && h.consumed+len(b) > h.in.seen {
		k.deadline = time.Now().Add(k.idle)
	}
	h.in.seen = max(h.in.seen, h.consumed+len(b))
	k.redeliver = false
	switch {
	case k.mode.op == opTakeOnly:
		n = min(k.mode.n, len(b))
		return n, n < len(b)
	case k.mode.n > 0:
		return min(k.mode.n, len(b)), false
	case k.mode.n < 0:
		return 0, false
	}
	return len(b), false
}

func (h fullHandler) ReadClosed(*loop.Conn) {
	steps := h.enter("ReadClosed")
	defer h.leave()
	h.locked(func() {
		k := &h.inc.known
		switch due := h.peer.dueLocked(); {
		case k.pausedInside || k.endedInside || k.eof:
			h.failedLocked("ReadClosed was called twice, after Pause, or after an operation that ends the connection")
		case h.in.seen < due:
			h.failedLocked("ReadClosed was called after %d bytes, want %d", h.in.seen, due)
		case !h.peer.mayEndLocked():
			h.failedLocked("ReadClosed was called, but the peer has not closed")
		}
		k.eof = true
	})
	h.act(steps)
}

func (h handler) Drained(*loop.Conn) {
	steps := h.enter("Drained")
	defer h.leave()
	h.locked(func() { h.inc.drainDue, h.inc.above, h.inc.drains = false, false, h.inc.drains+1 })
	h.act(steps)
}

func (h handler) Shutdown(*loop.Conn) {
	steps := h.enter("Shutdown")
	defer h.leave()
	if h.c.closeOnShutdown[h.i] {
		h.do(h.inc, step{op: opClose}, true)
	}
	h.act(steps)
}

func (h handler) Closed(_ *loop.Conn, why error) {
	h.enter("Closed")
	defer h.leave()
	h.locked(func() {
		k := &h.inc.known
		k.closed, k.why = true, why
		cause := context.Cause(h.inc.ctx)
		mustDeliver := h.inc == h.end.inc && h.mustDeliverUnreadLocked()
		switch early := time.Until(k.deadline); {
		case errors.Is(why, loop.ErrTimeout) && early > 0:
			h.failedLocked("a timeout expired %v early", early)
		case mustDeliver && k.paused && k.left > 0:
			h.failedLocked("Closed was called while paused with unread bytes: %v", why)
		case mustDeliver && k.redeliver:
			h.failedLocked("Closed was called before the left bytes were delivered again after Resume: %v", why)
		case !k.isCauseLocked(cause):
			h.failedLocked("Closed got %v, but the context's cause is %v", why, cause)
		}
	})
}

// isCauseLocked reports whether cause is a correct cause of the context after Closed.
func (k *known) isCauseLocked(cause error) bool {
	switch {
	case k.why == nil:
		return cause == loop.ErrClosed
	case cause == loop.ErrDetached && k.did(opDetach, opMove):
		return true // detaching may have failed since
	}
	return cause != nil && errors.Is(k.why, cause)
}
