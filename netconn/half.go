package netconn

import (
	"os"
	"sync"
	"time"
)

// A half is one direction of a connection: the calls that wait for it, and their deadline. Its owner's mu
// guards it, and must be held for all of its methods but setDeadline.
//
// One call at a time is in progress (busy), and others are queued behind it, as in package net. The owner's
// conditions are checked again after each wake-up.
type half struct {
	cond    sync.Cond // L is the owner's mu
	busy    bool      // a call is in progress
	expired bool      // the deadline has passed
	queued  int       // calls that wait until busy is false
	at      time.Time // the deadline; zero: none
	timer   *deadlineTimer
}

// A deadlineTimer calls deadlinePassed at the deadline or before: when a deadline is moved to a later time or removed it is
// left as it is, and sets itself when it fires. Servers set deadlines of seconds for each request, and almost none of
// them passes: so the runtime's timers are set once in that time, and not several times a request.
type deadlineTimer struct {
	*time.Timer
	at time.Time // when it fires, with a monotonic clock reading; zero: it does not run
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
	if t.IsZero() || h.firesBefore(t) {
		return true
	}
	if d := time.Until(t); d > 0 {
		h.startTimer(d)
	} else {
		h.expire()
	}
	return true
}

// firesBefore reports whether the timer fires at t or before. Without a monotonic clock reading, t is a time of the wall
// clock, which may have been set since the timer was: that is not compared.
func (h *half) firesBefore(t time.Time) bool {
	return h.timer != nil && !h.timer.at.IsZero() && !t.Before(h.timer.at) && t != t.Round(0)
}

// startTimer makes the timer fire after d.
func (h *half) startTimer(d time.Duration) {
	if h.timer == nil {
		h.timer = &deadlineTimer{Timer: time.AfterFunc(d, h.deadlinePassed)}
	} else {
		h.timer.Reset(d)
	}
	if h.timer.at = h.at; h.at == h.at.Round(0) {
		h.timer.at = time.Now().Add(d)
	}
}

// deadlinePassed is called by the timer. The deadline may have been moved or removed in the meantime, or the
// wall clock set back, if the deadline has no monotonic reading.
func (h *half) deadlinePassed() {
	h.cond.L.Lock()
	defer h.cond.L.Unlock()
	h.timer.at = time.Time{}
	if h.at.IsZero() || h.expired {
		return
	}
	if d := time.Until(h.at); d > 0 {
		h.startTimer(d)
	} else {
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
		h.timer.at = time.Time{}
	}
}

// errDeadline is the error at a deadline.
var errDeadline = os.ErrDeadlineExceeded
