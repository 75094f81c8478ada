package loop

import "net"

// Pause stops accepting until Resume: new connections wait in the backlogs of the kernel, which are bounded, and not
// one of them costs a descriptor. A few connections may still be accepted after it has returned. Pause may be called from
// any goroutine, also in a callback, and never blocks. On a closed listener it returns ErrClosed.
func (ln *Listener) Pause() error { return ln.setPaused("pause", true) }

// Resume undoes Pause, however often that was called. It may be called from where Pause may, and has the same errors.
func (ln *Listener) Resume() error { return ln.setPaused("resume", false) }

func (ln *Listener) setPaused(what string, paused bool) error {
	if ln.closed.Load() {
		return &net.OpError{Op: what, Net: ln.addr.Network(), Addr: ln.addr, Err: ErrClosed}
	}
	ln.paused.Store(paused)
	for _, a := range ln.acceptors {
		// Each function does what was asked for last: the calls of two goroutines may come to
		// two loops in different orders.
		a.loop.put(op{f: func() { a.policy.SetPaused(ln.paused.Load()) }})
	}
	return nil
}
