package netconn

import (
	"os"
	"sync"
	"time"
)

// A half is one direction of a connection: the calls that wait for it, and their deadline. Its owner's mu
// guards it, and must be held for all of its methods but setDeadline.
//
// One call at a time is in progress (busy), and others are queued behind it, as package net has it. The owner's
// conditions are checked again after each wake-up.
type half struct {
	cond    sync.Cond // L is the owner's mu
	busy    bool      // a call is in progress
	expired bool      // the deadline has passed
	queued  int       // calls that wait until busy is false
	at      time.Time // the deadline; zero: none
	timer   *time.Timer
}

// awaitTurn waits until no call is in progress, or *closed is true.
func (h *half) awaitTurn(closed *bool) {
	for h.busy && !*closed {
		h.queued++
		h.cond.Wait()
		h.queued--
	}
}

// leave ends the call in progress.
func (h *half) leave() {
	h.busy = false
	if h.queued > 0 {
		h.cond.Broadcast() // all of them may have to end, at a deadline
	}
}

// wake wakes the call in progress, if it waits.
func (h *half) wake() {
	if h.queued > 0 {
		h.cond.Broadcast()
		return
	}
	h.cond.Signal()
}

// setDeadline sets the deadline: the zero Time means none, and calls in progress end at once if it has passed. It
// returns false, without any effect, if *closed is true. The owner's mu must not be held.
func (h *half) setDeadline(t time.Time, closed *bool) bool {
	h.cond.L.Lock()
	defer h.cond.L.Unlock()
	if *closed {
		return false
	}
	h.at, h.expired = t, false
	d := time.Until(t)
	switch {
	case t.IsZero() || d <= 0:
		h.stopTimer()
		if !t.IsZero() {
			h.expire()
		}
	case h.timer == nil:
		h.timer = time.AfterFunc(d, h.deadlinePassed)
	default:
		h.timer.Reset(d)
	}
	return true
}

// deadlinePassed is called by the timer. The deadline may have been moved or removed in the meantime, or the
// wall clock set back, if the deadline has no monotonic reading.
func (h *half) deadlinePassed() {
	h.cond.L.Lock()
	defer h.cond.L.Unlock()
	switch d := time.Until(h.at); {
	case h.at.IsZero() || h.expired:
	case d > 0:
		h.timer.Reset(d)
	default:
		h.expire()
	}
}

func (h *half) expire() {
	h.expired = true
	h.wake()
}

// end wakes all calls, because the owner is closed, and removes the deadline.
func (h *half) end() {
	h.at = time.Time{}
	h.stopTimer()
	h.cond.Broadcast()
}

func (h *half) stopTimer() {
	if h.timer != nil {
		h.timer.Stop()
	}
}

// errDeadline is the error at a deadline.
var errDeadline = os.ErrDeadlineExceeded
