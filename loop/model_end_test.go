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

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

var (
	errModel                           = errors.New("an error of the model's")
	errData                            = fmt.Errorf("%w: of Data", errModel)
	errClosing                         = fmt.Errorf("%w: of CloseWith", errModel)
	errAborting                        = fmt.Errorf("%w: of AbortWith", errModel)
	_           loop.Handler           = handler{}
	_           loop.ReadClosedHandler = fullHandler{}
)

const (
	crowdBytes = 1000      // that each peer of a crowd sends before all meet
	farAway    = time.Hour // for timeouts that do not pass
)

// end is an end of a connection: a handler of the group's, or a plain peer. Once it is
// detached, the one is the other.
type end struct {
	p      *pair
	i      int
	peer   *end
	plain  bool // from the beginning
	offset int  // in text, where what it sends begins

	ops sync.Mutex // held for a step: steps of one end are done one by one

	// The pair's mu is held for the rest.
	todo []step // for the next callback
	conn *loop.Conn
	ctx  context.Context
	raw  plainConn
	state
	plainState
}

// state is what is known of a loop's connection, and of both kinds what was sent and seen.
type state struct {
	sent     int // bytes that Write, or the kernel, has taken
	seen     int // bytes that Data has been given, or the peer has read
	consumed int // and has consumed
	left     int // and has left

	opened, inside, closed  bool
	why                     error
	handlers                int // that SetHandler has set
	owned                   int // calls of WriteOwned that are not done
	lost                    bool
	paused, pausedInside    bool
	redeliver               bool // what was left must come again: Resume was called
	above, drainDue         bool // Unsent was above the high watermark
	backpressure, echoes    bool
	mode                    step // opConsume or opTakeOnly
	endedInside             bool
	fin, eof                bool // CloseWrite was called, or a FIN is queued; the peer's end was reported
	ended                   []op // the operations that were called and end it
	full                    bool // it left MaxUnread bytes
	deadline                time.Time
	detachCalls, detachings int
}

func (a *end) String() string {
	what := "loop"
	if a.plain {
		what = "plain"
	}
	return fmt.Sprintf("  end %d, %s:%s%s; %v, todo %v, called %v, Closed's reason %v, read's error %v", a.i, what, nonzero(a.state), nonzero(a.plainState), a.mode, a.todo, a.ended, a.why, a.readErr)
}

// nonzero prints the numbers of a struct that are not zero, and what is true.
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

// didLocked reports whether one of ops was called; mu is held.
func (a *end) didLocked(ops ...op) bool {
	return slices.ContainsFunc(ops, func(o op) bool { return slices.Contains(a.ended, o) })
}

// finishedLocked reports whether nothing more comes.
func (a *end) finishedLocked() bool {
	return a.closed || a.dead || a.p.failed || !a.plain && !a.opened && a.p.r.shutdownReturned.Load()
}

func (a *end) isFinished() (is bool) {
	a.p.locked(func() { is = a.finishedLocked() })
	return is
}

// Streams are made of text, each from a place of its own, over and over.
const (
	textBytes = 65521
	maxChunk  = 128 << 10
)

var text = func() []byte {
	b := make([]byte, 0, textBytes)
	for x := uint32(1); len(b) < textBytes; {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b = append(b, byte(x>>3))
	}
	return bytes.Repeat(b, 2+maxChunk/textBytes)
}()

// streamText returns n bytes of what a sends, up to maxChunk.
func (a *end) streamText(at, n int) []byte {
	from := (a.offset + at) % textBytes
	return text[from : from+n]
}

// streamCopy returns n bytes of what a sends, as memory of its own.
func (a *end) streamCopy(at, n int) []byte {
	b := make([]byte, 0, n)
	for len(b) < n {
		b = append(b, a.streamText(at+len(b), min(maxChunk, n-len(b)))...)
	}
	return b
}

// checkBytesLocked checks what has come from the peer, from its byte at on; mu is held.
func (a *end) checkBytesLocked(b []byte, at int) {
	for chunk := range slices.Chunk(b, maxChunk) {
		if !bytes.Equal(chunk, a.peer.streamText(at, len(chunk))) {
			i := 0
			for want := a.peer.streamText(at, len(chunk)); chunk[i] == want[i]; i++ {
			}
			a.p.failLocked("end %d gets other bytes than were sent, from %d on", a.i, at+i)
			return
		}
		at += len(chunk)
	}
}

// handler is an end without ReadClosed; number is how many SetHandler had set before.
type handler struct {
	*end
	number int
}

// fullHandler is an end with all methods.
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

// enter begins every callback, and returns what is to be done in it.
func (h handler) enter(what string) []step {
	a := h.end
	a.p.mu.Lock()
	defer a.p.mu.Unlock()
	switch {
	case a.inside:
		a.p.failLocked("end %d: %s comes inside another callback", a.i, what)
	case a.closed:
		a.p.failLocked("end %d: %s comes after Closed", a.i, what)
	case a.opened == (what == "Opened"):
		a.p.failLocked("end %d: %s comes before Opened, or twice", a.i, what)
	case h.number != a.handlers:
		a.p.failLocked("end %d: %s of handler %d of %d is called", a.i, what, h.number, a.handlers)
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

// act does steps in a callback; the error is one for Data to return.
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
	h.p.locked(func() {
		h.mode.op, h.ctx, h.backpressure = opConsume, c.Context(), h.isAccepted()
		if n, most := h.p.r.g.Conns(), h.p.r.p.setting.maxConns; most > 0 && n > most {
			h.p.failLocked("there are %d connections", n)
		}
	})
	h.act(steps)
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
		h.full = h.full || h.left >= h.p.r.p.setting.maxUnread && !h.pausedInside
	})
	return n, h.act(steps)
}

// dataLocked checks b, and returns how much of it is consumed, and whether Data pauses.
func (a *end) dataLocked(c *loop.Conn, b []byte) (n int, pauses bool) {
	setting := &a.p.r.p.setting
	switch {
	case a.pausedInside:
		a.p.failLocked("end %d: Data comes after Pause", a.i)
	case a.endedInside:
		a.p.failLocked("end %d: Data comes after what ends the connection", a.i)
	case a.above && !a.peer.mayResetLocked() && c.Unsent() > setting.low:
		a.p.failLocked("end %d: Data comes above the high watermark", a.i)
	case len(b) == 0 || len(b) < a.left:
		a.p.failLocked("end %d: Data gets %d bytes, %d were left", a.i, len(b), a.left)
	case a.eof && a.consumed+len(b) > a.seen:
		a.p.failLocked("end %d: Data gets more bytes after ReadClosed", a.i)
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
			h.p.failLocked("end %d: ReadClosed comes twice, after Pause or after what ends the connection", h.i)
		case h.seen < h.peer.dueLocked():
			h.p.failLocked("end %d: ReadClosed comes before %d bytes have come", h.i, h.peer.dueLocked())
		case !h.peer.mayEndLocked():
			h.p.failLocked("end %d: ReadClosed comes, and the peer has not ended", h.i)
		}
		h.eof = true
	})
	h.act(steps)
}

func (h handler) Drained(*loop.Conn) {
	steps := h.enter("Drained")
	defer h.leave()
	h.p.locked(func() { h.drainDue, h.above = false, false })
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
			h.p.failLocked("end %d: a timeout comes early", h.i)
		case h.mustDeliverUnreadLocked() && h.paused && h.left > 0:
			h.p.failLocked("end %d: Closed comes while bytes are unread and reading is paused: %v", h.i, why)
		case h.mustDeliverUnreadLocked() && h.redeliver:
			h.p.failLocked("end %d: Closed comes before what was left has come again after Resume: %v", h.i, why)
		case !h.isCauseLocked(context.Cause(h.ctx)):
			h.p.failLocked("end %d: Closed gets %v, and the context's cause is %v", h.i, why, context.Cause(h.ctx))
		}
	})
}

// isCauseLocked reports whether cause is that of the context of an end that has been closed.
func (a *end) isCauseLocked(cause error) bool {
	switch {
	case a.why == nil:
		return cause == loop.ErrClosed
	case cause == loop.ErrDetached && a.didLocked(opDetach, opDetachStream):
		return true // which may have failed since
	}
	return cause != nil && errors.Is(a.why, cause)
}

// onLoop has f called by Run, or at once if the loop has ended.
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

// doElsewhere has a step done on another goroutine, or later on the loop.
func (a *end) doElsewhere(s step) {
	from := s.from
	if a.p.r.p.shutdown.begin > 0 && from != fromOther {
		from = fromRun // the loop may end before the others are done
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
		err = l.Offload(func() any { f(); return nil }, nil)
	case fromOffloadDone:
		err = l.Offload(func() any { return s }, func(any) { f() })
	}
	if err != nil {
		f()
	}
}

// do does a step; inside is in a callback of a's.
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
		a.p.locked(func() { a.paused, a.pausedInside = true, a.pausedInside || inside })
		err = c.Pause()
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
		if !a.didLocked(opIdleTimeout, opReadDeadline) {
			err = errors.Join(c.SetIdleTimeout(farAway), c.SetReadDeadline(time.Now().Add(farAway)), c.SetWriteTimeout(farAway))
		}
	case opBackpressure:
		a.p.locked(func() { a.backpressure, a.above = s.n > 0, false })
		err = c.SetBackpressure(s.n > 0)
	}
	a.p.locked(func() { a.checkErrorLocked(s.op.String(), err) })
}

// checkErrorLocked allows for ErrClosed where something ends the connection; mu is held.
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

// setHandler sets the next one in a callback only: from elsewhere, the one before may be in
// a callback.
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

// write writes once.
func (a *end) write(c *loop.Conn, s step, inside bool) {
	setting := &a.p.r.p.setting
	waits, n := c.Unsent(), s.n
	if n > setting.maxUnsent-waits && n%4 > 0 {
		n = max(0, setting.maxUnsent-waits)
	}
	b, at := a.streamCopy(a.sent, n), n/3
	if !inside {
		a.p.locked(func() { a.above = false })
	}
	var k int
	var err error
	switch s.op {
	case opWrite:
		k, err = c.Write(b)
		clear(b) // it may be used again at once
	case opWritev:
		k, err = c.Writev([][]byte{b[:at], nil, b[at:]})
		clear(b)
	case opWriteOwned:
		k, err = a.writeOwned(c, b)
	}
	unsent := c.Unsent()
	a.p.locked(func() {
		switch {
		case err == nil && k == n:
			a.sent += n
			crossed := unsent > setting.high
			a.above = inside && crossed && a.backpressure
			a.drainDue = a.drainDue || crossed
		case k == 0 && errors.Is(err, loop.ErrTooLarge) && errors.Is(err, loop.ErrBufferFull) && n > setting.maxUnsent:
		case k == 0 && errors.Is(err, loop.ErrBufferFull) && !errors.Is(err, loop.ErrTooLarge) && n <= setting.maxUnsent && waits+n > setting.maxUnsent:
			a.drainDue = true
		case k == 0 && errors.Is(err, loop.ErrClosed) && (a.fin || a.mayBeClosedLocked()):
		default:
			a.p.failLocked("end %d: a write of %d: %d, %v, while %d bytes were unsent", a.i, n, k, err, waits)
		}
		if unsent > setting.maxUnsent {
			a.p.failLocked("end %d: %d bytes are unsent", a.i, unsent)
		}
	})
}

func (a *end) writeOwned(c *loop.Conn, b []byte) (int, error) {
	called := false
	a.p.locked(func() { a.owned++ })
	n, err := c.WriteOwned(b, func(why error) {
		a.p.locked(func() {
			if called || a.closed {
				a.p.failLocked("end %d: done of WriteOwned is called twice, or after Closed", a.i)
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
				a.p.failLocked("end %d: Detach's function is called after Closed", a.i)
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
		return polled{s}
	}
	s.Close()
	return conn.(plainConn)
}
