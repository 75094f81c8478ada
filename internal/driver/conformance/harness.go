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

// forever is the timeout of most turns: without an event that wakes the driver, they hang.
const forever = -1

// harness is a driver, with checks of its contract. The test's goroutine is the loop's; peers are
// non-blocking sockets, so no other goroutine is needed.
type harness struct {
	*testing.T
	machine Machine
	drv     driver.Driver
	config  driver.Config

	goroutine []byte
	turning   bool
	turnCount int
	method    string // the driver's running method, other than Turn
	upcalling atomic.Bool
	upcalls   int    // number of upcalls
	last      string // name of the last upcall

	conns        []*conn
	listeners    []*listener
	watches      []*watch
	packets      []*packetSocket
	others       []io.Closer
	pairListener *sock.TCPListener // accepts the streams of pair
}

func newHarness(t *testing.T, m Machine, c driver.Config) *harness {
	h := &harness{T: t, machine: m, config: c, goroutine: goroutine(make([]byte, 64))}
	h.drv = m.Open(t, c)
	t.Cleanup(h.close)
	return h
}

// close releases what is left, and checks that the driver releases all of it.
func (h *harness) close() {
	if h.turning {
		return // the test has failed inside Turn
	}
	for _, c := range h.conns {
		if !c.gone {
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
		h.until("the Released of all streams", func() bool {
			for _, c := range h.conns {
				if c.releases == 0 {
					return false
				}
			}
			return true
		})
		h.expectQuiet("everything was released")
	}
	for _, x := range h.others {
		x.Close()
	}
	if err := h.drv.Close(); err != nil {
		h.Errorf("Close: %v", err)
	}
}

// call runs f and records for upcall that the method runs.
func (h *harness) call(method string, f func()) {
	if h.upcalling.Load() && !h.turning {
		h.Errorf("%s: an upcall outside Turn", method)
	}
	outer := h.method
	h.method = method
	f()
	h.method = outer
}

// upcall runs an upcall, and checks where it comes from.
func (h *harness) upcall(what string, f func()) {
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

// goroutine identifies the current goroutine, by the first words of its stack.
func goroutine(b []byte) []byte {
	b = b[:runtime.Stack(b, false)]
	return b[:bytes.IndexByte(b, '[')]
}

// turn calls Turn, and returns how long it took. If Turn does not return before the deadline, it
// wakes the driver, and the test fails.
func (h *harness) turn(timeout time.Duration) time.Duration {
	h.Helper()
	var late atomic.Bool
	watchdog := time.AfterFunc(deadline, func() {
		late.Store(true)
		h.drv.Wake()
	})
	hung := time.AfterFunc(2*deadline, func() { panic(h.Name() + ": Turn does not return, not even after Wake") })
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
		h.Fatalf("Turn(%v) slept for %v, until the suite called Wake; the last upcall was %q", timeout, took, h.last)
	}
	return took
}

// until runs turns until ok. Each turn sleeps until there is an event, so if none comes, the test
// fails.
func (h *harness) until(what string, ok func() bool) { h.Helper(); h.turnUntil(what, forever, ok) }

// pollUntil is until for conditions that no upcall reports, such as what a peer has received.
func (h *harness) pollUntil(what string, ok func() bool) {
	h.Helper()
	h.turnUntil(what, time.Millisecond, ok)
}

func (h *harness) turnUntil(what string, timeout time.Duration, ok func() bool) {
	h.Helper()
	for end := time.Now().Add(deadline); !ok(); {
		if time.Now().After(end) {
			h.Fatalf("did not happen within %v: %s; the last upcall was %q", deadline, what, h.last)
		}
		h.turn(timeout)
	}
}

// expectQuiet fails if there is an upcall within quietTime, or if turns end without a reason.
func (h *harness) expectQuiet(why string) {
	h.Helper()
	before := h.upcalls
	if turns := h.idle(quietTime); turns > maxIdleTurns*(1+len(h.listeners)) {
		h.Errorf("%s, but Turn returned %d times in %v without a reason", why, turns, quietTime)
	}
	if n := h.upcalls - before; n > 0 {
		h.Errorf("%s, but there were %d upcalls, the last %q", why, n, h.last)
	}
}

// maxIdleTurns is how many turns may end within quietTime though nothing has happened, and as many
// again for each listener: completions of cancelled operations, such as a listener's accepts, or
// earlier events may still have to be handled.
const maxIdleTurns = 16

// idle runs turns for d, and returns how many there were.
func (h *harness) idle(d time.Duration) (turns int) {
	for end := time.Now().Add(d); ; turns++ {
		left := time.Until(end)
		if left <= 0 {
			return turns
		}
		h.turn(left)
	}
}

// untilQuiet runs turns until no upcall has come for quietTime.
func (h *harness) untilQuiet() {
	h.Helper()
	for end := time.Now().Add(deadline); ; {
		before := h.upcalls
		h.idle(quietTime) // a single turn may return earlier
		if h.upcalls == before {
			return
		}
		if time.Now().After(end) {
			h.Fatalf("upcalls still came after %v; the last was %q", deadline, h.last)
		}
	}
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}
