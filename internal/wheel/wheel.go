// Package wheel implements timers. Starting, stopping or moving one is O(1); a million
// timers cost a million small structures and nothing else. It reads no clock, starts no
// goroutine and takes no lock: a loop advances its wheel to the time that it has read.
//
// It is a hierarchy of wheels (Varghese and Lauck, "Hashed and Hierarchical Timing
// Wheels", scheme 7). Time is counted in ticks, written in digits to base 64; level
// L has a slot for each value of digit L. A timer is at the level of the highest
// digit in which its tick differs from now, so it is always greater than now in that
// digit and equal above. When the clock reaches a slot, its timers move to lower
// levels, or fire. So a timer moves at most once per level.
package wheel

import (
	"math"
	"math/bits"
	"time"
)

const (
	digitBits = 6
	slots     = 1 << digitBits
	levels    = 8 // 48 bits of ticks: more than an int64 of nanoseconds holds
	due       = levels * slots
	// Tick is the resolution: a timer fires up to one tick late, never early.
	Tick = time.Millisecond
)

// A Timer calls Fire at a set time. The zero Timer is stopped. It must not be copied
// while it runs.
type Timer struct {
	// Fire is called by Advance, after it has removed the timer from the wheel. It may
	// start and stop any timer, including this one.
	Fire func(*Timer)

	next, prev *Timer
	tick       uint64
	list       int32 // 1 + its list's index; 0 when stopped
}

// Wheel is a set of timers and a clock. It must be used by one goroutine at a time. Times
// are nanoseconds, 0 or more, on a clock of the caller's that never goes back.
type Wheel struct {
	now      uint64          // timers with this tick or less are due
	lists    [due + 1]*Timer // a list for each slot of each level, and one of due timers
	occupied [levels]uint64  // a bit for each slot that has timers
	earliest [due]uint64     // for each occupied slot: no timer in it has an earlier tick
	count    int
}

// New returns a wheel whose clock is at nanos.
func New(nanos int64) *Wheel { return &Wheel{now: uint64(nanos) / uint64(Tick)} }

// Len returns how many timers run.
func (w *Wheel) Len() int { return w.count }

// Start makes t fire at nanos, or one tick from now if nanos is past. It moves a timer
// that runs.
func (w *Wheel) Start(t *Timer, nanos int64) {
	w.Stop(t)
	// Round up, so that it never fires early.
	t.tick = (uint64(max(nanos, 0)) + uint64(Tick) - 1) / uint64(Tick)
	t.tick = max(t.tick, w.now+1)
	w.insert(t)
	w.count++
}

// Stop removes t. It returns false if t was not running.
func (w *Wheel) Stop(t *Timer) bool {
	if t.list == 0 {
		return false
	}
	w.unlink(t)
	w.count--
	return true
}

// insert links t, whose tick is now or later, into its slot or the list of due timers.
func (w *Wheel) insert(t *Timer) {
	if t.tick <= w.now {
		w.link(t, due)
		return
	}
	level := (bits.Len64(t.tick^w.now) - 1) / digitBits
	slot := int(t.tick>>(level*digitBits)) & (slots - 1)
	list := level*slots + slot
	if bit := uint64(1) << slot; w.occupied[level]&bit == 0 {
		w.occupied[level] |= bit
		w.earliest[list] = t.tick
	} else {
		w.earliest[list] = min(w.earliest[list], t.tick)
	}
	w.link(t, list)
}

// link appends t to a list. The prev of the first timer is the last one. Appending makes
// timers of the same tick fire in the order in which they were started.
func (w *Wheel) link(t *Timer, list int) {
	t.list = int32(1 + list)
	t.next = nil
	first := w.lists[list]
	if first == nil {
		w.lists[list], t.prev = t, t
		return
	}
	t.prev = first.prev
	first.prev.next = t
	first.prev = t
}

func (w *Wheel) unlink(t *Timer) {
	list := int(t.list - 1)
	first := w.lists[list]
	switch {
	case t != first:
		t.prev.next = t.next
	case t.next == nil:
		w.lists[list] = nil
		if list != due {
			w.occupied[list/slots] &^= 1 << (list % slots)
		}
	default:
		w.lists[list] = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else if t != first {
		first.prev = t.prev
	}
	t.next, t.prev, t.list = nil, nil, 0
}

// nextSlot returns the first slot that has timers, and the tick at which it begins.
// It is in the lowest occupied level: every slot of a higher level is later than all
// slots of the levels below it.
func (w *Wheel) nextSlot() (list int, tick uint64, ok bool) {
	for level := range levels {
		if w.occupied[level] == 0 {
			continue
		}
		slot := bits.TrailingZeros64(w.occupied[level])
		shift := level * digitBits
		above := w.now >> (shift + digitBits) << (shift + digitBits)
		return level*slots + slot, above | uint64(slot)<<shift, true
	}
	return 0, 0, false
}

// Next returns the time at which to call Advance; ok is false if no timer runs. It is that of the
// first timer, or earlier if timers were stopped that would have been before: so a loop does not wake
// up only to move timers to lower levels.
func (w *Wheel) Next() (nanos int64, ok bool) {
	if w.lists[due] != nil {
		return int64(w.now * uint64(Tick)), true
	}
	list, _, ok := w.nextSlot()
	if !ok {
		return 0, false
	}
	return int64(min(w.earliest[list], math.MaxInt64/uint64(Tick)) * uint64(Tick)), true
}

// Advance moves the clock to nanos and fires the timers due by then, at most limit, in
// the order of their ticks. It returns how many it fired, and whether more are due.
func (w *Wheel) Advance(nanos int64, limit int) (fired int, more bool) {
	target := uint64(max(nanos, 0)) / uint64(Tick)
	for {
		for t := w.lists[due]; t != nil; t = w.lists[due] {
			if fired == limit {
				return fired, true
			}
			w.Stop(t)
			fired++
			t.Fire(t)
		}
		list, tick, ok := w.nextSlot()
		if !ok || tick > target {
			w.now = max(w.now, target)
			return fired, false
		}
		w.now = tick
		w.empty(list)
	}
}

// empty moves the timers of a slot that the clock has reached to lower levels, or to the
// list of due timers.
func (w *Wheel) empty(list int) {
	for t := w.lists[list]; t != nil; t = w.lists[list] {
		w.unlink(t)
		w.insert(t)
	}
}
