package loop

import (
	"cmp"
	"errors"
	"net"
	"sync"
	"time"
)

// handOverTimeout is how long Listen and similar methods wait for loops that are in a callback.
const handOverTimeout = 50 * time.Millisecond

// A handOver gives work to several loops and waits for them, but not longer than
// handOverTimeout. Each loop answers once: to the caller, or, if that has stopped waiting, by
// calling late with its error.
type handOver struct {
	answers chan error
	timeout time.Duration
	late    func(error) // called on the loop with an error that comes after the caller stopped waiting

	mu        sync.Mutex
	abandoned bool // the caller has stopped waiting
}

// start has a loop call begin. If that fails, the caller must undo it, or, if it has stopped
// waiting, undo is called.
func (h *handOver) start(l *Loop, begin func() error, undo func()) {
	if !l.put(op{f: func() { h.answer(begin(), undo) }}) {
		h.answer(l.endedError(), undo)
	}
}

func (h *handOver) answer(err error, undo func()) {
	h.mu.Lock()
	left := h.abandoned
	if !left {
		h.answers <- err
	}
	h.mu.Unlock()
	if left && err != nil {
		undo()
		h.late(err)
	}
}

// wait returns the first error, or nil if all loops have begun except those that are in a
// callback.
func (h *handOver) wait() error {
	timer := time.NewTimer(cmp.Or(h.timeout, handOverTimeout))
	defer timer.Stop()
	for n := 0; n < cap(h.answers); n++ {
		select {
		case err := <-h.answers:
			if err != nil {
				return err
			}
		case <-timer.C:
			return h.abandon()
		}
	}
	return nil
}

// abandon directs later answers to late, and returns the first error among those that have come.
func (h *handOver) abandon() error {
	h.mu.Lock()
	h.abandoned = true
	h.mu.Unlock()
	for {
		select {
		case err := <-h.answers:
			if err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// newHandOver returns a handOver for the sockets of an address, which logs late errors.
func (g *Group) newHandOver(loops int, addr net.Addr) *handOver {
	return &handOver{answers: make(chan error, loops), timeout: g.handOverTimeout, late: func(err error) {
		if !errors.Is(err, ErrClosed) {
			g.logLate(addr, err)
		}
	}}
}

func (g *Group) logLate(addr net.Addr, err error) {
	g.config.Logger.Error("pollux: a loop that was in a callback when a socket was opened failed to serve it afterwards; the socket is closed", "network", addr.Network(), "address", addr, "error", err)
}
