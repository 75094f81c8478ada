package netconn

import (
	"github.com/pollux-io/pollux/internal/passive"
	"github.com/pollux-io/pollux/loop"
)

// upcalls is a connection of this package as its loop sees it: the handler. Either its Conn or its parked state gets the
// callbacks. The loop alone changes it after the connection has opened.
type upcalls struct {
	c *Conn   // nil while it is parked
	k *parked // nil unless it is parked
}

var (
	_ loop.Handler           = (*upcalls)(nil)
	_ loop.OpenedHandler     = (*upcalls)(nil)
	_ loop.ReadClosedHandler = (*upcalls)(nil)
	_ loop.DrainedHandler    = (*upcalls)(nil)
	_ loop.ClosedHandler     = (*upcalls)(nil)
	_ loop.ShutdownHandler   = (*upcalls)(nil)
	_ passive.Handler        = (*upcalls)(nil)
)

// Passive implements passive.Handler. A Read that another goroutine makes meanwhile takes less time.
func (*upcalls) Passive() {}

// connOf returns the Conn of a connection that this package has dialed, which is never parked.
func connOf(raw *loop.Conn) *Conn { return raw.Handler().(*upcalls).c }

// Opened implements loop.OpenedHandler.
func (u *upcalls) Opened(*loop.Conn) {
	if u.c.ln != nil {
		u.c.ln.opened(u.c)
	}
}

// Data implements loop.Handler. It consumes all of b: a Read that waits gets the bytes, and the rest is kept.
func (u *upcalls) Data(_ *loop.Conn, b []byte) (int, error) {
	if u.k != nil {
		return u.dataParked(b), nil
	}
	c := u.c
	c.mu.Lock()
	rest := b
	if c.into != nil {
		c.got = copy(c.into, b)
		c.into, rest = nil, b[c.got:]
	}
	if len(rest) > 0 && !c.closed && !c.readClosed {
		c.keepLocked(rest)
	}
	c.r.wake()
	c.mu.Unlock()
	return len(b), nil
}

// ReadClosed implements loop.ReadClosedHandler.
func (u *upcalls) ReadClosed(*loop.Conn) {
	if u.k != nil {
		u.k.close()
		return
	}
	c := u.c
	c.mu.Lock()
	c.readEnded = true
	c.r.wake()
	c.mu.Unlock()
}

// Drained implements loop.DrainedHandler.
func (u *upcalls) Drained(*loop.Conn) {
	if u.k != nil {
		return
	}
	c := u.c
	c.mu.Lock()
	c.drained = true
	c.w.wake()
	c.mu.Unlock()
}

// Shutdown implements loop.ShutdownHandler.
func (u *upcalls) Shutdown(*loop.Conn) {
	if u.k != nil {
		u.k.close()
	}
}

// Closed implements loop.ClosedHandler.
func (u *upcalls) Closed(_ *loop.Conn, why error) {
	if u.k != nil {
		u.k.p.drop(u.k)
		return
	}
	c := u.c
	c.mu.Lock()
	c.ended, c.why = true, why
	c.r.wake()
	c.w.wake()
	c.mu.Unlock()
}
