package netconn

import (
	"github.com/pollux-io/pollux/internal/passive"
	"github.com/pollux-io/pollux/loop"
)

// upcalls is a Conn as its loop sees it: the handler of the connection.
type upcalls Conn

var (
	_ loop.Handler           = (*upcalls)(nil)
	_ loop.OpenedHandler     = (*upcalls)(nil)
	_ loop.ReadClosedHandler = (*upcalls)(nil)
	_ loop.DrainedHandler    = (*upcalls)(nil)
	_ loop.ClosedHandler     = (*upcalls)(nil)
	_ passive.Handler        = (*upcalls)(nil)
)

// Passive implements passive.Handler. A Read that another goroutine makes meanwhile takes less time.
func (*upcalls) Passive() {}

// connOf returns the Conn of a connection that this package has accepted or dialed.
func connOf(raw *loop.Conn) *Conn { return (*Conn)(raw.Handler().(*upcalls)) }

// Opened implements loop.OpenedHandler.
func (u *upcalls) Opened(*loop.Conn) {
	if u.ln != nil {
		u.ln.opened((*Conn)(u))
	}
}

// Data implements loop.Handler. It consumes all of b: a Read that waits gets the bytes, and the rest is kept.
func (u *upcalls) Data(_ *loop.Conn, b []byte) (int, error) {
	c := (*Conn)(u)
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
	u.mu.Lock()
	u.readEnded = true
	u.r.wake()
	u.mu.Unlock()
}

// Drained implements loop.DrainedHandler.
func (u *upcalls) Drained(*loop.Conn) {
	u.mu.Lock()
	u.drained = true
	u.w.wake()
	u.mu.Unlock()
}

// Closed implements loop.ClosedHandler.
func (u *upcalls) Closed(_ *loop.Conn, why error) {
	u.mu.Lock()
	u.ended, u.why = true, why
	u.r.wake()
	u.w.wake()
	u.mu.Unlock()
}
