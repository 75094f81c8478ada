package conformance

import (
	"bytes"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/sock"
)

// forever is the timeout that most turns have: what does not wake the driver hangs.
const forever = -1

// harness is a driver, and what holds it to its contract. The test's goroutine is the
// loop's; peers are sockets that never block, so nothing else runs beside it.
type harness struct {
	*testing.T
	drv    driver.Driver
	config driver.Config

	goroutine []byte
	turning   bool
	turnCount int
	method    string // the driver's method that runs, other than Turn
	upcalling atomic.Bool
	upcalls   int    // so far
	last      string // the last of them

	conns     []*conn
	listeners []*listener
	watches   []*watch
	packets   []*packetSocket
	others    []io.Closer
	door      *sock.TCPListener // where pairs are made
}

func newHarness(t *testing.T, open Open, c driver.Config) *harness {
	h := &harness{T: t, config: c, goroutine: goroutine(make([]byte, 64))}
	h.drv = open(t, c)
	t.Cleanup(h.close)
	return h
}

// close ends what is left, and checks that the driver lets go of all of it.
func (h *harness) close() {
	if h.turning {
		return // the test has failed in mid-turn
	}
	for _, c := range h.conns {
		if !c.given {
			c.onReceived, c.onEnded, c.onFailed, c.onSent, c.onConnected, c.onReleased = nil, nil, nil, nil, nil, nil
			c.release()
		}
	}
	for _, l := range h.listeners {
		l.onAccepted = nil
		l.unlisten()
	}
	for _, w := range h.watches {
		w.unwatch()
	}
	for _, p := range h.packets {
		p.unbind()
	}
	if !h.Failed() {
		h.until("the Released of everything", func() bool {
			for _, c := range h.conns {
				if c.releases == 0 {
					return false
				}
			}
			return true
		})
		h.quiet("everything was released")
	}
	for _, x := range h.others {
		x.Close()
	}
	if err := h.drv.Close(); err != nil {
		h.Errorf("Close: %v", err)
	}
}

// call marks that a method runs, for up to see.
func (h *harness) call(method string, f func()) {
	if h.upcalling.Load() && !h.turning {
		h.Errorf("%s: an upcall outside Turn", method)
	}
	outer := h.method
	h.method = method
	f()
	h.method = outer
}

// up runs an upcall, and checks where it comes from.
func (h *harness) up(what string, f func()) {
	switch {
	case !h.upcalling.CompareAndSwap(false, true):
		h.Errorf("%s while another upcall runs (in %q)", what, h.method)
	case h.method != "":
		h.Errorf("%s from inside %s", what, h.method)
	case !h.turning:
		h.Errorf("%s outside Turn", what)
	}
	if h.upcalls < 100 && !bytes.Equal(goroutine(make([]byte, 64)), h.goroutine) {
		h.Errorf("%s on another goroutine than the loop's", what)
	}
	h.upcalls++
	h.last = what
	f()
	h.upcalling.Store(false)
}

// goroutine names the one that runs: the first words of its stack.
func goroutine(b []byte) []byte {
	b = b[:runtime.Stack(b, false)]
	return b[:bytes.IndexByte(b, '[')]
}

// turn is one Turn, and says how long it took. One that does not end is woken, and
// fails.
func (h *harness) turn(timeout time.Duration) time.Duration {
	h.Helper()
	var late atomic.Bool
	watchdog := time.AfterFunc(deadline, func() {
		late.Store(true)
		h.drv.Wake()
	})
	hung := time.AfterFunc(2*deadline, func() { panic(h.Name() + ": Turn does not end, not even by Wake") })
	h.turning = true
	h.turnCount++
	start := time.Now()
	err := h.drv.Turn(timeout)
	took := time.Since(start)
	h.turning = false
	watchdog.Stop()
	hung.Stop()
	if err != nil {
		h.Fatalf("Turn(%v): %v", timeout, err)
	}
	if late.Load() {
		h.Fatalf("Turn(%v) slept for %v, until the suite woke it; the last upcall was %q", timeout, took, h.last)
	}
	return took
}

// until turns until ok: each turn sleeps until there is something, so that something
// must come.
func (h *harness) until(what string, ok func() bool) { h.Helper(); h.turns(what, forever, ok) }

// meanwhile is until for what no upcall tells, such as what a peer gets.
func (h *harness) meanwhile(what string, ok func() bool) {
	h.Helper()
	h.turns(what, time.Millisecond, ok)
}

func (h *harness) turns(what string, timeout time.Duration, ok func() bool) {
	h.Helper()
	for end := time.Now().Add(deadline); !ok(); {
		if time.Now().After(end) {
			h.Fatalf("not within %v: %s; the last upcall was %q", deadline, what, h.last)
		}
		h.turn(timeout)
	}
}

// quiet fails if there is an upcall now, or soon, or if turns end for no reason.
func (h *harness) quiet(why string) {
	h.Helper()
	before := h.upcalls
	if turns := h.idle(settle); turns > maxIdleTurns*(1+len(h.listeners)) {
		h.Errorf("%s, but Turn came back %d times in %v for nothing", why, turns, settle)
	}
	if n := h.upcalls - before; n > 0 {
		h.Errorf("%s, but there were %d upcalls, the last %q", why, n, h.last)
	}
}

// maxIdleTurns is how many turns may end in settle though nothing has happened, and as
// many again for each listener: what was cancelled, such as the accepts that a listener
// has in flight, or had come before may still be cleared away.
const maxIdleTurns = 16

// idle turns for d, and returns how many turns that took.
func (h *harness) idle(d time.Duration) (turns int) {
	for end := time.Now().Add(d); ; turns++ {
		left := time.Until(end)
		if left <= 0 {
			return turns
		}
		h.turn(left)
	}
}

// calm turns until nothing has happened for settle.
func (h *harness) calm() {
	h.Helper()
	before := h.upcalls - 1
	h.turns("no more upcalls", settle, func() bool {
		still := h.upcalls == before
		before = h.upcalls
		return still
	})
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}
