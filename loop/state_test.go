package loop

import (
	"errors"
	"fmt"
	"testing"
)

// messageOfPanic returns what f panics with, or "".
func messageOfPanic(f func()) (message string) {
	defer func() {
		if v := recover(); v != nil {
			message = fmt.Sprint(v)
		}
	}()
	f()
	return ""
}

func TestPhaseTransitions(t *testing.T) {
	legal := map[phase][]phase{
		connecting: {open, released},
		starting:   {open, closing, released},
		open:       {starting, detaching, failing, closing, released},
		detaching:  {detached, released},
		failing:    {released},
		closing:    {lingering, released},
		lingering:  {released},
		released:   nil,
		detached:   nil,
	}
	if len(legal) != int(phases) {
		t.Fatalf("%d of %d phases are tested", len(legal), phases)
	}
	for from, nexts := range legal {
		want := map[phase]bool{}
		for _, next := range nexts {
			want[next] = true
		}
		for next := range phases + 1 { // phases itself is invalid
			c := &Conn{connState: connState{phase: from}}
			message := messageOfPanic(func() { c.enter(next) })
			switch {
			case want[next]:
				if message != "" || c.phase != next {
					t.Errorf("from %v to %v: panic %q, phase %v; want no panic", from, next, message, c.phase)
				}
			default:
				if expected := fmt.Sprintf("loop: a connection cannot change from %v to %v", from, next); message != expected || c.phase != from {
					t.Errorf("from %v to %v: panic %q, phase %v; want %q, and no change", from, next, message, c.phase, expected)
				}
			}
			if !c.mu.TryLock() {
				t.Errorf("from %v to %v: mu is still held", from, next)
			}
		}
	}
}

// Every phase can be left for a last one, and only for a later one, except that an open connection
// may get a layer, once: so no connection can stay in a cycle.
func TestPhasesEnd(t *testing.T) {
	for from := range phases {
		for next := range phases {
			if transitions[from][next] && next <= from && !(from == open && next == starting) {
				t.Errorf("from %v to %v goes back", from, next)
			}
		}
		if last := from.gone(); transitions[from][released] == last {
			t.Errorf("%v: gone %v, may be released %v", from, last, !last)
		}
	}
}

func TestPhasePredicates(t *testing.T) {
	type is struct{ ends, writes, delivers, intact, gone bool }
	for p, want := range map[phase]is{
		connecting: {},
		starting:   {intact: true},
		open:       {writes: true, delivers: true, intact: true},
		detaching:  {delivers: true, intact: true},
		failing:    {delivers: true},
		closing:    {ends: true},
		lingering:  {ends: true},
		released:   {ends: true, gone: true},
		detached:   {ends: true, gone: true},
	} {
		c := &Conn{connState: connState{phase: p}}
		if got := (is{c.ends(), c.acceptsWritesLocked(), p.delivers(), p.intact(), p.gone()}); got != want {
			t.Errorf("%v: %+v, want %+v", p, got, want)
		}
		c.upcoming |= endRequested
		if !c.ends() || c.acceptsWritesLocked() {
			t.Errorf("%v, and its end requested: ends %v, accepts writes %v", p, c.ends(), c.acceptsWritesLocked())
		}
	}
}

func TestWriteHalfAdvances(t *testing.T) {
	for from := writeOpen; from <= writeFailed; from++ {
		for next := writeOpen; next <= writeFailed; next++ {
			c := &Conn{connState: connState{phase: open, writeHalf: from}}
			want, after := "", next
			if next < from {
				want, after = fmt.Sprintf("loop: a connection's sending half cannot change from %v to %v", from, next), from
			}
			if message := messageOfPanic(func() { c.advanceWriteHalfLocked(next) }); message != want || c.writeHalf != after {
				t.Errorf("from %v to %v: panic %q, then %v; want %q, then %v", from, next, message, c.writeHalf, want, after)
			}
			if c.acceptsWritesLocked() != (c.writeHalf == writeOpen) {
				t.Errorf("sending half %v: accepts writes %v", c.writeHalf, c.acceptsWritesLocked())
			}
		}
	}
	c, broken := &Conn{connState: connState{phase: open}}, errors.New("broken")
	c.failWritesLocked(broken)
	if err := c.writeErrorLocked(); !errors.Is(err, broken) || !errors.Is(err, ErrClosed) {
		t.Errorf("a write returns %v, want ErrClosed and %v", err, broken)
	}
}

// doRequests handles each request once.
func TestRequestGroups(t *testing.T) {
	const last = wantEnd
	var handled request
	for _, group := range []request{beginRequests, settingRequests, wantFlush, wantCloseWrite, wantDetach, wantClose, deliveryRequests} {
		if twice := handled & group; twice != 0 {
			t.Errorf("requests %b are in two groups", twice)
		}
		handled |= group
	}
	if all := last | (last - 1); handled != all {
		t.Errorf("requests %b are in no group", all&^handled)
	}
}
