package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

var (
	errModel                           = errors.New("an error of the model")
	errData                            = fmt.Errorf("%w: of Data", errModel)
	errClosing                         = fmt.Errorf("%w: of CloseWith", errModel)
	errAborting                        = fmt.Errorf("%w: of AbortWith", errModel)
	_           loop.Handler           = handler{}
	_           loop.ReadClosedHandler = fullHandler{}
)

const (
	crowdBytes  = 1000      // sent by each peer of a crowd before opMeet
	longTimeout = time.Hour // never expires in a run
)

// end is an end of a connection: a handler of the group, or a plain peer. A detached connection
// goes on as a plain one.
type end struct {
	p      *pair
	i      int
	peer   *end
	plain  bool // it was never a connection of the loop
	offset int  // where its stream begins in text

	ops sync.Mutex // held during a step: steps of one end are done one at a time

	// The rest is guarded by the pair's mu.
	todo []step // for the next callback
	conn *loop.Conn
	ctx  context.Context
	raw  plainConn
	state
	plainState
}

// state is the known state of a connection of the loop; sent and seen are for plain peers, too.
type state struct {
	sent     int // bytes that Write, or the kernel, has accepted
	seen     int // bytes that were passed to Data, or read by the plain peer
	consumed int // bytes that Data has consumed
	left     int // bytes that Data has left

	opened, inside, closed  bool
	why                     error
	handlers                int  // number of handlers that SetHandler has set
	owned                   int  // calls of WriteOwned whose done is still to be called
	lost                    bool // done of WriteOwned, or a plain write, got an error
	paused, pausedInside    bool
	pausing                 bool // Pause has not returned: it may come after the end
	redeliver               bool // Resume was called, so the left bytes must be delivered again
	above, drainDue         bool // Unsent was above the high watermark, Drained is due
	drains                  int  // calls of Drained
	high, low               int  // the watermarks
	backpressure, echoes    bool
	mode                    step // opConsume or opTakeOnly
	endedInside             bool
	fin, eof                bool // CloseWrite was called or a FIN is queued; the peer's EOF was reported
	ended                   []op // the operations called that end the connection
	full                    bool // it left MaxUnreadBytes
	deadline                time.Time
	detachCalls, detachings int
	offloaded               []*bool // for each Offload on the connection, whether done was called, or refused
}

func (a *end) String() string {
	what := "loop"
	if a.plain {
		what = "plain"
	}
	return fmt.Sprintf("  end %d, %s:%s%s; %v, todo %v, called %v, Closed got %v, reading got %v", a.i, what, nonzero(a.state), nonzero(a.plainState), a.mode, a.todo, a.ended, a.why, a.readErr)
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

// didLocked reports whether one of ops was called; the caller must hold mu.
func (a *end) didLocked(ops ...op) bool {
	return slices.ContainsFunc(ops, func(o op) bool { return slices.Contains(a.ended, o) })
}

func (a *end) did(ops ...op) bool {
	a.p.mu.Lock()
	defer a.p.mu.Unlock()
	return a.didLocked(ops...)
}

// finishedLocked reports whether no more callbacks or bytes are to come.
func (a *end) finishedLocked() bool {
	return a.closed || a.dead || a.p.failed || !a.plain && !a.opened && a.p.r.shutdownReturned.Load()
}

// mayStayUnopenedLocked reports whether Opened may never be called, although the connection was
// dialed: once Shutdown has begun, a connection in the backlog is not accepted. A script that waits
// for Opened would wait until Shutdown returns, and Shutdown for the dialing end, if that is of the
// group, which only the script closes.
func (a *end) mayStayUnopenedLocked() bool {
	return !a.plain && !a.opened && a.p.r.shutdownBegun.Load()
}

// awaitOpened waits for Opened, unless that may never be called, and reports whether a is open.
func (a *end) awaitOpened() (is bool) {
	a.p.wait("Opened", func() bool { return a.opened || a.finishedLocked() || a.mayStayUnopenedLocked() })
	a.p.locked(func() { is = a.opened && !a.finishedLocked() && !a.p.r.stuck.Load() })
	return is
}

// A stream repeats text, beginning at the end's offset.
const maxChunk = 128 << 10

var text = testkit.Text(maxChunk)

// streamText returns n bytes of a's stream, which may not exceed maxChunk.
func (a *end) streamText(at, n int) []byte {
	from := (a.offset + at) % testkit.TextBytes
	return text[from : from+n]
}

// streamCopy returns a copy of n bytes of a's stream.
func (a *end) streamCopy(at, n int) []byte {
	b := make([]byte, 0, n)
	for len(b) < n {
		b = append(b, a.streamText(at+len(b), min(maxChunk, n-len(b)))...)
	}
	return b
}

// checkBytesLocked checks bytes received from the peer, which begin at offset at of its stream; the
// caller must hold mu.
func (a *end) checkBytesLocked(b []byte, at int) {
	for chunk := range slices.Chunk(b, maxChunk) {
		if !bytes.Equal(chunk, a.peer.streamText(at, len(chunk))) {
			i := 0
			for want := a.peer.streamText(at, len(chunk)); chunk[i] == want[i]; i++ {
			}
			a.p.failLocked("end %d got bytes that differ from those sent, from offset %d on", a.i, at+i)
			return
		}
		at += len(chunk)
	}
}

// handler is an end without ReadClosed; number is how many handlers SetHandler had set before.
type handler struct {
	*end
	number int
}

// fullHandler is an end with all optional methods.
type fullHandler struct{ handler }

func (a *end) accept(c *loop.Conn) loop.Handler {
	a.p.locked(func() { a.conn = c })
	return a.handler(0)
}

func (a *end) handler(number int) loop.Handler {
	if a.p.s.noReadClosed[a.i] {
		return handler{a, number}
	}
	return fullHandler{handler{a, number}}
}

// enter is called first in every callback, checks it, and returns the steps to do in it.
func (h handler) enter(what string) []step {
	a := h.end
	a.p.mu.Lock()
	defer a.p.mu.Unlock()
	switch {
	case a.inside:
		a.p.failLocked("end %d: %s was called inside another callback", a.i, what)
	case a.closed:
		a.p.failLocked("end %d: %s was called after Closed", a.i, what)
	case a.opened == (what == "Opened"):
		a.p.failLocked("end %d: %s was called before Opened, or twice", a.i, what)
	case h.number != a.handlers:
		a.p.failLocked("end %d: %s was called on handler %d, want handler %d", a.i, what, h.number, a.handlers)
	}
	a.inside, a.opened = true, true
	var now, later []step
	for _, s := range a.todo {
		if s.op == opDataError && what != "Data" || what == "Closed" {
			later = append(later, s)
		} else {
			now = append(now, s)
		}
	}
	a.todo = later
	return now
}

func (h handler) leave() { h.p.locked(func() { h.inside = false }) }

// act does steps in a callback; Data must return the error.
func (h handler) act(steps []step) (err error) {
	for _, s := range steps {
		switch s.op {
		case opPanic:
			h.p.locked(func() { h.ended, h.endedInside = append(h.ended, opPanic), true })
			panic(errModel)
		case opDataError:
			h.p.locked(func() { h.ended, h.endedInside = append(h.ended, opDataError), true })
			err = errData
		default:
			h.do(s, true)
		}
	}
	return err
}

func (h handler) Opened(c *loop.Conn) {
	steps := h.enter("Opened")
	defer h.leave()
	alone := false
	h.p.locked(func() {
		alone = h.p.failed
		h.mode.op, h.ctx, h.backpressure = opConsume, c.Context(), h.isAccepted()
		if n, most := h.p.r.g.Conns(), h.p.r.p.setting.maxConns; most > 0 && n > most {
			h.p.failLocked("Conns() = %d, want at most %d", n, most)
		}
	})
	h.act(steps)
	if alone {
		h.do(step{op: opClose}, true)
	}
}

func (h handler) Data(c *loop.Conn, b []byte) (n int, err error) {
	steps := h.enter("Data")
	defer h.leave()
	var pauses, echoes bool
	h.p.locked(func() {
		n, pauses = h.dataLocked(c, b)
		echoes = h.echoes
	})
	if echoes && n > 0 {
		h.do(step{op: opWrite, n: n}, true)
	}
	if pauses {
		h.do(step{op: opPause}, true)
	}
	defer h.p.locked(func() {
		h.consumed += n
		h.left = len(b) - n
		h.redeliver = h.redeliver && h.left > 0 // Resume in this call did not know that nothing is left
		h.full = h.full || h.left >= h.p.r.p.setting.maxUnread && !h.pausedInside
	})
	return n, h.act(steps)
}

// dataLocked checks b, and returns how much of it is consumed, and whether Data pauses.
func (a *end) dataLocked(c *loop.Conn, b []byte) (n int, pauses bool) {
	switch {
	case a.pausedInside:
		a.p.failLocked("end %d: Data was called after Pause", a.i)
	case a.endedInside:
		a.p.failLocked("end %d: Data was called after an operation that ends the connection", a.i)
	case a.above && !a.peer.mayResetLocked() && c.Unsent() > a.low:
		a.p.failLocked("end %d: Data was called above the high watermark", a.i)
	case len(b) == 0 || len(b) < a.left:
		a.p.failLocked("end %d: Data got %d bytes, although %d were left", a.i, len(b), a.left)
	case a.eof && a.consumed+len(b) > a.seen:
		a.p.failLocked("end %d: Data got new bytes after ReadClosed", a.i)
	}
	a.checkBytesLocked(b, a.consumed)
	a.seen = max(a.seen, a.consumed+len(b))
	a.redeliver = false
	switch {
	case a.mode.op == opTakeOnly:
		n = min(a.mode.n, len(b))
		return n, n < len(b)
	case a.mode.n > 0:
		return min(a.mode.n, len(b)), false
	case a.mode.n < 0:
		return 0, false
	}
	return len(b), false
}

func (h fullHandler) ReadClosed(*loop.Conn) {
	steps := h.enter("ReadClosed")
	defer h.leave()
	h.p.locked(func() {
		switch {
		case h.pausedInside || h.endedInside || h.eof:
			h.p.failLocked("end %d: ReadClosed was called twice, after Pause, or after an operation that ends the connection", h.i)
		case h.seen < h.peer.dueLocked():
			h.p.failLocked("end %d: ReadClosed was called before %d bytes were delivered", h.i, h.peer.dueLocked())
		case !h.peer.mayEndLocked():
			h.p.failLocked("end %d: ReadClosed was called, but the peer has not closed", h.i)
		}
		h.eof = true
	})
	h.act(steps)
}

func (h handler) Drained(*loop.Conn) {
	steps := h.enter("Drained")
	defer h.leave()
	h.p.locked(func() { h.drainDue, h.above, h.drains = false, false, h.drains+1 })
	h.act(steps)
}

func (h handler) Shutdown(*loop.Conn) {
	steps := h.enter("Shutdown")
	defer h.leave()
	if h.p.s.closeOnShutdown[h.i] {
		h.do(step{op: opClose}, true)
	}
	h.act(steps)
}

func (h handler) Closed(_ *loop.Conn, why error) {
	h.enter("Closed")
	defer h.leave()
	h.p.locked(func() {
		h.closed, h.why = true, why
		switch {
		case errors.Is(why, loop.ErrTimeout) && time.Now().Before(h.deadline):
			h.p.failLocked("end %d: a timeout expired early", h.i)
		case h.mustDeliverUnreadLocked() && h.paused && !h.pausing && h.left > 0:
			h.p.failLocked("end %d: Closed was called while paused with unread bytes: %v", h.i, why)
		case h.mustDeliverUnreadLocked() && h.redeliver:
			h.p.failLocked("end %d: Closed was called before the left bytes were delivered again after Resume: %v", h.i, why)
		case !h.isCauseLocked(context.Cause(h.ctx)):
			h.p.failLocked("end %d: Closed got %v, but the context's cause is %v", h.i, why, context.Cause(h.ctx))
		}
	})
}

// isCauseLocked reports whether cause is a correct cause of the context after Closed.
func (a *end) isCauseLocked(cause error) bool {
	switch {
	case a.why == nil:
		return cause == loop.ErrClosed
	case cause == loop.ErrDetached && a.didLocked(opDetach, opDetachStream):
		return true // detaching may have failed since
	}
	return cause != nil && errors.Is(a.why, cause)
}

// onLoop calls f by Run, or immediately if the loop has ended.
func (a *end) onLoop(f func()) {
	a.p.locked(func() { a.p.pending++ })
	g := func() {
		f()
		a.p.locked(func() { a.p.pending-- })
	}
	if a.conn.Loop().Run(g) != nil {
		g()
	}
}

// doElsewhere starts a step on another goroutine, or queues it on the loop.
func (a *end) doElsewhere(s step) {
	from := s.from
	if from == fromOwnOffloadDone {
		a.doOffloaded(s)
		return
	}
	if a.p.r.p.shutdown.begin > 0 && from != fromOther {
		from = fromRun // the loop may end before timers and offloaded functions run
	}
	if from == fromRun {
		a.onLoop(func() { a.do(s, false) })
		return
	}
	a.p.locked(func() { a.p.pending++ })
	f := func() {
		a.do(s, false)
		a.p.locked(func() { a.p.pending-- })
	}
	var err error
	switch l := a.conn.Loop(); from {
	case fromOther:
		go f()
	case fromTimer:
		l.AfterFunc(0, f)
	case fromWorker:
		err = loop.Offload(l, func() (any, error) { f(); return nil, nil }, nil)
	case fromOffloadDone:
		err = loop.Offload(l, func() (step, error) { return s, nil }, func(step, error) { f() })
	}
	if err != nil {
		f()
	}
}

// doOffloaded does a step in the second half of an Offload on the connection. If the connection
// ends before, the step is not done.
func (a *end) doOffloaded(s step) {
	settled := new(bool)
	a.p.locked(func() { a.offloaded = append(a.offloaded, settled) })
	err := loop.Offload(a.conn, func() (step, error) { return s, nil }, func(s step, err error) {
		h := handler{end: a}
		a.p.locked(func() { h.number = a.handlers })
		steps := h.enter("an Offload's done")
		defer h.leave()
		a.p.locked(func() {
			if a.endedInside {
				a.p.failLocked("end %d: an Offload's done was called after an operation that ends the connection", a.i)
			}
			*settled = true
		})
		h.act(append(steps, s))
	})
	if err != nil {
		a.p.locked(func() {
			*settled = true
			a.checkErrorLocked("Offload", err)
		})
	}
}

// awaitOffloaded waits until each done of doOffloaded was called, or will not be, and checks that
// it was if the connection is open.
func (a *end) awaitOffloaded() {
	var some bool
	a.p.locked(func() { some = len(a.offloaded) > 0 })
	if !some {
		return
	}
	if !testkit.Eventually(func() bool { return !a.p.r.g.OffloadBusy() }) {
		a.p.locked(func() { a.p.failLocked("end %d: work of Offload does not return", a.i) })
	}
	checked := func() {
		a.p.locked(func() {
			for _, settled := range a.offloaded {
				if !*settled && !a.mayBeClosedLocked() {
					a.p.failLocked("end %d: an Offload's done was not called, and nothing has ended the connection", a.i)
				}
			}
		})
	}
	a.onLoop(checked) // it follows all of them in the loop's queue
	a.p.wait("a function of Run", func() bool { return a.p.pending == 0 })
}

// do does a step; inside reports whether it is called in a callback of a.
func (a *end) do(s step, inside bool) {
	a.ops.Lock()
	defer a.ops.Unlock()
	c := a.conn
	if s.op.ends() {
		a.p.locked(func() {
			a.ended, a.endedInside = append(a.ended, s.op), a.endedInside || inside && s.op < opIdleTimeout
		})
	}
	var err error
	switch s.op {
	case opWrite, opWritev, opWriteOwned:
		a.write(c, s, inside)
	case opConsume, opTakeOnly:
		a.p.locked(func() { a.mode = s })
	case opEcho:
		a.p.locked(func() { a.echoes = s.n > 0 })
	case opPause:
		a.p.locked(func() { a.paused, a.pausing, a.pausedInside = true, true, a.pausedInside || inside })
		err = c.Pause()
		a.p.locked(func() { a.paused, a.pausing = a.paused && err == nil, false })
	case opResume:
		err = a.resume(c)
	case opSetHandler:
		err = a.setHandler(c, inside)
	case opCloseWrite:
		a.p.locked(func() { a.fin = true })
		err = c.CloseWrite()
	case opClose:
		err = c.Close()
	case opCloseWith:
		err = c.CloseWith(errClosing)
	case opAbort:
		err = c.Abort()
	case opAbortWith:
		err = c.AbortWith(errAborting)
	case opDetach, opDetachStream:
		err = a.detach(c, s.op)
	case opIdleTimeout:
		a.p.locked(func() { a.setDeadlineLocked(s.n) })
		err = c.SetIdleTimeout(time.Duration(s.n) * time.Microsecond)
	case opReadDeadline:
		a.p.locked(func() { a.setDeadlineLocked(s.n) })
		err = c.SetReadDeadline(time.Now().Add(time.Duration(s.n) * time.Microsecond))
	case opLongTimeouts:
		if !a.did(opIdleTimeout, opReadDeadline) {
			err = errors.Join(c.SetIdleTimeout(longTimeout), c.SetReadDeadline(time.Now().Add(longTimeout)), c.SetWriteTimeout(longTimeout))
		}
	case opWatermarks:
		err = a.setWatermarks(c, s.n, inside)
	case opBackpressure:
		a.p.locked(func() { a.backpressure, a.above = s.n > 0, false })
		err = c.SetBackpressure(s.n > 0)
	}
	a.p.locked(func() { a.checkErrorLocked(s.op.String(), err) })
}

// checkErrorLocked records a failure if err is not nil, except for ErrClosed if something may have
// ended the connection; the caller must hold mu.
func (a *end) checkErrorLocked(what string, err error) {
	if err != nil && (!errors.Is(err, loop.ErrClosed) || !a.mayBeClosedLocked()) {
		a.p.failLocked("end %d: %s: %v", a.i, what, err)
	}
}

func (a *end) setDeadlineLocked(micros int) {
	if d := time.Now().Add(time.Duration(micros) * time.Microsecond); a.deadline.IsZero() || d.Before(a.deadline) {
		a.deadline = d
	}
}

func (a *end) resume(c *loop.Conn) error {
	a.p.locked(func() {
		a.redeliver = a.redeliver || a.paused && a.left > 0
		a.paused, a.pausedInside = false, false
	})
	err := c.Resume()
	if err != nil {
		a.p.locked(func() { a.redeliver = false })
	}
	return err
}

// setHandler sets the next handler, in a callback only: otherwise the current handler may be in a
// callback.
func (a *end) setHandler(c *loop.Conn, inside bool) error {
	if !inside {
		return nil
	}
	err := c.SetHandler(a.handler(a.handlers + 1))
	if err == nil {
		a.p.locked(func() { a.handlers++ })
	}
	return err
}

// setWatermarks sets the watermarks, of which the high one is n; it takes effect immediately.
func (a *end) setWatermarks(c *loop.Conn, n int, inside bool) error {
	setting := &a.p.r.p.setting
	high, low, drains := n, (n+1)/2, 0
	if n == 0 {
		high, low = setting.high, setting.low
	}
	a.p.locked(func() { a.above, a.low, drains = false, min(a.low, low), a.drains })
	var err error
	if n == 0 {
		err = c.SetWatermarks(0, 0)
	} else {
		err = c.SetWatermarks(high, low)
	}
	unsent := c.Unsent()
	a.p.locked(func() {
		if err != nil {
			return
		}
		a.high, a.low = high, low
		crossed := unsent > high
		a.above = inside && crossed && a.backpressure
		a.drainDue = a.drainDue || crossed && a.drains == drains
	})
	return err
}

// write writes once.
func (a *end) write(c *loop.Conn, s step, inside bool) {
	setting := &a.p.r.p.setting
	before, n := c.Unsent(), s.n
	if n > setting.maxUnsent-before && n%4 > 0 {
		n = max(0, setting.maxUnsent-before)
	}
	b, at := a.streamCopy(a.sent, n), n/3
	drains := 0
	a.p.locked(func() {
		a.above = a.above && inside
		drains = a.drains
	})
	var k int
	var err error
	switch s.op {
	case opWrite:
		k, err = c.Write(b)
		clear(b) // the caller may reuse it immediately
	case opWritev:
		k, err = c.Writev([][]byte{b[:at], nil, b[at:]})
		clear(b)
	case opWriteOwned:
		k, err = a.writeOwned(c, b)
	}
	unsent := c.Unsent()
	a.p.locked(func() {
		// Outside of the loop, the Drained that is due may have been called meanwhile.
		drained := a.drains != drains
		switch {
		case err == nil && k == n:
			a.sent += n
			crossed := unsent > a.high
			a.above = inside && crossed && a.backpressure
			a.drainDue = a.drainDue || crossed && !drained
		case k == 0 && errors.Is(err, loop.ErrTooLarge) && errors.Is(err, loop.ErrBufferFull) && n > setting.maxUnsent:
		case k == 0 && errors.Is(err, loop.ErrBufferFull) && !errors.Is(err, loop.ErrTooLarge) && n <= setting.maxUnsent && before+n > setting.maxUnsent:
			a.drainDue = a.drainDue || !drained
		case k == 0 && errors.Is(err, loop.ErrClosed) && (a.fin || a.mayBeClosedLocked()):
		default:
			a.p.failLocked("end %d: a write of %d bytes = %d, %v, while %d bytes were unsent", a.i, n, k, err, before)
		}
		if unsent > setting.maxUnsent {
			a.p.failLocked("end %d: %d bytes are unsent, want at most MaxUnsentBytes, %d", a.i, unsent, setting.maxUnsent)
		}
	})
}

func (a *end) writeOwned(c *loop.Conn, b []byte) (int, error) {
	called := false
	a.p.locked(func() { a.owned++ })
	n, err := c.WriteOwned(b, func(why error) {
		a.p.locked(func() {
			if called || a.closed {
				a.p.failLocked("end %d: done of WriteOwned was called twice, or after Closed", a.i)
			}
			called, a.lost = true, a.lost || why != nil
			a.owned--
		})
		clear(b)
	})
	if err != nil {
		a.p.locked(func() { a.owned-- })
	}
	return n, err
}

func (a *end) detach(c *loop.Conn, how op) error {
	f := func(conn plainConn, unread []byte, err error) {
		a.p.locked(func() {
			if a.detachCalls++; a.closed {
				a.p.failLocked("end %d: Detach's function was called after Closed", a.i)
			}
			if err == nil {
				a.checkBytesLocked(unread, a.consumed)
				a.seen = max(a.seen, a.consumed+len(unread))
				a.consumed += len(unread)
			}
		})
		if err == nil {
			a.startIO(conn)
		}
	}
	var err error
	if how == opDetach {
		err = c.Detach(func(conn net.Conn, unread []byte, err error) {
			if err != nil {
				f(nil, unread, err)
				return
			}
			f(conn.(plainConn), unread, nil)
		})
	} else {
		err = c.DetachStream(func(s *sock.Stream, unread []byte, err error) {
			if err != nil {
				f(nil, unread, err)
				return
			}
			f(plainStream(s), unread, nil)
		})
	}
	if err == nil {
		a.p.locked(func() { a.detachings++ })
	}
	return err
}

func plainStream(s *sock.Stream) plainConn {
	conn, err := s.NetConn()
	if err != nil { // on Windows
		return polledStream{s}
	}
	s.Close()
	return conn.(plainConn)
}
