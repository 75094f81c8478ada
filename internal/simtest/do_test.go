package simtest

import (
	"errors"
	"net"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// doFrom does a step of a connection of a loop, from where it says.
func (e *end) doFrom(s step) {
	w := e.c.w
	var inc *incarnation
	w.locked(func() { inc = e.inc })
	if inc.lc == nil {
		return
	}
	if s.from == fromDone {
		e.offload(inc, s)
		return
	}
	f := func() { e.do(inc, s, false) }
	l := inc.lc.Loop()
	var err error
	switch s.from {
	case fromScript:
		f()
		return
	case fromRun:
		err = l.Run(f)
	case fromOtherLoop:
		err = w.loopFor(s.conn).Run(f)
	case fromTimer:
		l.AfterFunc(time.Millisecond, f)
	case fromWorker:
		err = loop.Offload(l, func() (any, error) {
			w.pauseWorker()
			f()
			return nil, nil
		}, func(any, error) { w.called() })
	}
	w.called()
	if err != nil && !w.anyShutdown() {
		w.fail(s.String() + ": " + err.Error())
	}
}

// pauseWorker waits until nothing else runs, so that the order in which goroutines run is the seed's.
func (w *world) pauseWorker() { w.n.NewActor().Wait(time.Microsecond) }

func (w *world) anyShutdown() (is bool) {
	w.locked(func() { is = w.anyShutdownLocked() })
	return is
}

// offload does a step in the second half of an Offload on the connection. If the connection ends before,
// the step is not done.
func (e *end) offload(inc *incarnation, s step) {
	w := e.c.w
	w.called()
	e.locked(func() { inc.offloads++ })
	err := loop.Offload(inc.lc, func() (step, error) {
		w.pauseWorker()
		return s, nil
	}, func(s step, err error) {
		h := handler{end: e, inc: inc}
		e.locked(func() { h.number = inc.handlers })
		steps := h.enter("an Offload's done")
		defer h.leave()
		e.locked(func() {
			inc.offloads--
			if inc.endedInside || err != nil {
				e.failedLocked("an Offload's done was called with %v, after an operation that ends the connection: %v", err, inc.endedInside)
			}
		})
		h.act(append(steps, s))
	})
	if err != nil {
		e.locked(func() {
			inc.offloads--
			e.checkErrorLocked(inc, "Offload", err)
		})
	}
}

// do does a step; inside reports whether it is called in a callback of e.
func (e *end) do(inc *incarnation, s step, inside bool) {
	k, lc := &inc.known, inc.lc
	e.c.w.called()
	if s.op.ends() {
		e.locked(func() {
			k.ended, k.endedInside = append(k.ended, s.op), k.endedInside || inside && s.op < opIdleTimeout
		})
	}
	var err error
	switch s.op {
	case opWrite, opWritev, opWriteOwned, opWriteShared:
		e.write(inc, s, inside)
	case opConsume, opTakeOnly:
		e.locked(func() { k.mode = s })
	case opEcho:
		e.locked(func() { k.echo = s.n })
	case opPause:
		e.locked(func() { k.paused, k.pausedInside = true, k.pausedInside || inside })
		err = lc.Pause()
		e.locked(func() { k.paused = k.paused && err == nil })
	case opResume:
		err = e.resume(inc)
	case opSetHandler:
		err = e.setHandler(inc, inside)
	case opCloseWrite:
		e.locked(func() { k.fin = true })
		err = lc.CloseWrite()
	case opClose:
		err = lc.Close()
	case opCloseWith:
		err = lc.CloseWith(errClosing)
	case opAbort:
		err = lc.Abort()
	case opAbortWith:
		err = lc.AbortWith(errAborting)
	case opDetach:
		err = e.detach(inc)
	case opMove:
		err = e.move(inc)
	case opIdleTimeout, opReadDeadline, opLongTimeouts:
		err = e.setTimeouts(inc, s)
	case opWatermarks:
		err = e.setWatermarks(inc, s.n, inside)
	case opBackpressure:
		e.locked(func() { k.backpressure, k.above = s.n > 0, false })
		err = lc.SetBackpressure(s.n > 0)
	}
	e.locked(func() { e.checkErrorLocked(inc, s.op.String(), err) })
}

// checkErrorLocked records a failure if err is not nil, except for ErrClosed if something may have ended
// the connection.
func (e *end) checkErrorLocked(inc *incarnation, what string, err error) {
	if err != nil && (!errors.Is(err, loop.ErrClosed) || inc == e.inc && !e.mayBeClosedLocked()) {
		e.failedLocked("%s: %v", what, err)
	}
}

func (e *end) setTimeouts(inc *incarnation, s step) error {
	d := time.Duration(s.n) * time.Microsecond
	if s.op == opLongTimeouts {
		if inc.did(opIdleTimeout, opReadDeadline) {
			return nil
		}
		return errors.Join(inc.lc.SetIdleTimeout(longTimeout), inc.lc.SetReadDeadline(time.Now().Add(longTimeout)), inc.lc.SetWriteTimeout(longTimeout))
	}
	e.locked(func() {
		if t := time.Now().Add(d); inc.deadline.IsZero() || t.Before(inc.deadline) {
			inc.deadline = t
		}
		inc.idle = 0
		if s.op == opIdleTimeout && !inc.did(opReadDeadline) {
			inc.idle = d
		}
	})
	if s.op == opIdleTimeout {
		return inc.lc.SetIdleTimeout(d)
	}
	return inc.lc.SetReadDeadline(time.Now().Add(d))
}

func (e *end) resume(inc *incarnation) error {
	e.locked(func() {
		inc.redeliver = inc.redeliver || inc.paused && inc.left > 0
		inc.paused, inc.pausedInside = false, false
	})
	err := inc.lc.Resume()
	if err != nil {
		e.locked(func() { inc.redeliver = false })
	}
	return err
}

// setHandler sets the next handler, in a callback only: otherwise the current handler may be in a
// callback.
func (e *end) setHandler(inc *incarnation, inside bool) error {
	if !inside {
		return nil
	}
	err := inc.lc.SetHandler(e.handler(inc, inc.handlers+1))
	if err == nil {
		e.locked(func() { inc.handlers++ })
	}
	return err
}

// setWatermarks sets the watermarks, of which the high one is n; it takes effect immediately.
func (e *end) setWatermarks(inc *incarnation, n int, inside bool) error {
	k := &inc.known
	high, low, drains := n, (n+1)/2, 0
	if n == 0 {
		high, low = e.c.w.p.setting.high, e.c.w.p.setting.low
	}
	e.locked(func() { k.above, k.low, drains = false, min(k.low, low), k.drains })
	var err error
	if n == 0 {
		err = inc.lc.SetWatermarks(0, 0)
	} else {
		err = inc.lc.SetWatermarks(high, low)
	}
	unsent := inc.lc.Unsent()
	e.locked(func() {
		if err != nil {
			return
		}
		k.high, k.low = high, low
		crossed := unsent > high
		k.above = inside && crossed && k.backpressure
		k.drainDue = k.drainDue || crossed && k.drains == drains
	})
	return err
}

// write writes once.
func (e *end) write(inc *incarnation, s step, inside bool) {
	k, most := &inc.known, e.c.w.p.setting.maxUnsent
	before, n, drains := inc.lc.Unsent(), s.n, 0
	if n > most-before && n%4 > 0 {
		n = max(0, most-before)
	}
	var at int
	e.locked(func() {
		k.above = k.above && inside
		drains = k.drains
		at = e.out.sent
		e.out.offered = max(e.out.offered, at+n)
	})
	written, err := e.writeBytes(inc, s.op, e.out.bytes(at, n))
	unsent := inc.lc.Unsent()
	e.locked(func() {
		drained := k.drains != drains
		switch {
		case err == nil && written == n:
			e.out.sent += n
			crossed := unsent > k.high
			k.above = inside && crossed && k.backpressure
			k.drainDue = k.drainDue || crossed && !drained
		case written == 0 && errors.Is(err, loop.ErrTooLarge) && errors.Is(err, loop.ErrBufferFull) && n > most:
		case written == 0 && errors.Is(err, loop.ErrBufferFull) && !errors.Is(err, loop.ErrTooLarge) && n <= most && before+n > most:
			k.drainDue = k.drainDue || !drained
		case written == 0 && errors.Is(err, loop.ErrClosed) && (k.fin || inc != e.inc || e.mayBeClosedLocked()):
		default:
			e.failedLocked("a write of %d bytes = %d, %v, while %d bytes were unsent", n, written, err, before)
		}
		if unsent > most {
			e.failedLocked("%d bytes are unsent, want at most MaxUnsentBytes, %d", unsent, most)
		}
	})
}

// writeBytes writes b, whose memory is overwritten as soon as that is allowed.
func (e *end) writeBytes(inc *incarnation, o op, b []byte) (int, error) {
	switch o {
	case opWrite:
		defer clear(b)
		return inc.lc.Write(b)
	case opWritev:
		defer clear(b)
		return inc.lc.Writev([][]byte{b[:len(b)/3], nil, b[len(b)/3:]})
	case opWriteShared:
		s := e.c.w.newShared(b)
		defer s.Release()
		return inc.lc.WriteShared(s)
	}
	called := false
	e.locked(func() { inc.owned++ })
	n, err := inc.lc.WriteOwned(b, func(why error) {
		e.c.w.called()
		e.locked(func() {
			if called || inc.closed {
				e.failedLocked("done of WriteOwned was called twice, or after Closed")
			}
			called, inc.lost = true, inc.lost || why != nil
			inc.owned--
		})
		clear(b)
	})
	if err != nil {
		e.locked(func() { inc.owned-- })
	}
	return n, err
}

// newShared returns a message whose memory is overwritten once it is free.
func (w *world) newShared(b []byte) *loop.Shared {
	w.locked(func() { w.shared++ })
	freed := false
	return loop.NewSharedFunc(b, func() {
		w.locked(func() {
			if freed {
				w.failLocked("a Shared was freed twice")
			}
			freed = true
			w.shared--
		})
		clear(b)
	})
}

// detach makes the end a player.
func (e *end) detach(inc *incarnation) error {
	e.locked(func() { inc.detachings++ })
	err := inc.lc.Detach(func(conn net.Conn, unread []byte, err error) {
		e.detached(inc, unread, err)
		if err != nil {
			return
		}
		p := e.newPlayer()
		e.locked(func() {
			e.player = p
			e.consumed += len(unread)
		})
		p.play(conn.(netConn))
	})
	if err != nil {
		e.locked(func() { inc.detachings-- })
	}
	return err
}

// detached is called by functions of Detach and DetachStream.
func (e *end) detached(inc *incarnation, unread []byte, err error) {
	e.c.w.called()
	e.locked(func() {
		if inc.detachings--; inc.closed || inc.detachings < 0 {
			e.failedLocked("Detach's function was called after Closed, or twice")
		}
		if err != nil {
			return
		}
		e.checkBytesLocked(unread, e.consumed)
		if len(unread) < inc.left {
			e.failedLocked("Detach's function got %d bytes, although %d were left", len(unread), inc.left)
		}
		e.in.seen = max(e.in.seen, e.consumed+len(unread))
	})
}

// move moves the connection to another loop.
func (e *end) move(inc *incarnation) error {
	skip := false
	e.locked(func() {
		if skip = inc.fin || e.moving || len(inc.ended) > 0; !skip {
			inc.ended = append(inc.ended, opMove)
			inc.detachings++
		}
	})
	if skip {
		return nil
	}
	err := inc.lc.DetachStream(func(s *sock.Stream, unread []byte, err error) {
		e.detached(inc, unread, err)
		if err == nil {
			e.attach(s, unread)
		}
	})
	if err != nil {
		e.locked(func() { inc.detachings-- })
	}
	return err
}

// attach begins another incarnation.
func (e *end) attach(s *sock.Stream, unread []byte) {
	w := e.c.w
	to := w.loopFor(e.c.i + len(unread) + e.consumed)
	e.locked(func() {
		e.inc, e.moving = &incarnation{}, true
		e.inc.left, e.inc.redeliver = len(unread), len(unread) > 0
	})
	w.called()
	if err := to.AttachStream(s, unread, e.accept); err != nil {
		s.Close()
		e.locked(func() {
			e.moving, e.dropped = false, true
			if !w.anyShutdownLocked() && w.p.setting.maxConns == 0 {
				e.failedLocked("AttachStream: %v", err)
			}
		})
	}
}
