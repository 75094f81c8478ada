package netconn

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/pollux-io/pollux/internal/wheel"
	"github.com/pollux-io/pollux/loop"
)

// ErrParked is what ReadOrPark returns when it has parked the connection, and later. The other methods of that Conn return
// net.ErrClosed then, except Close.
var ErrParked = errors.New("netconn: the connection is parked; Accept returns it again when bytes arrive")

// MaxWakeBytes is how many bytes a parked connection may wait for.
const MaxWakeBytes = 64

// idleRead is the state of ReadOrPark, which few connections use. The connection's mu guards it.
type idleRead struct {
	p         *parker // nil once the listener is closed
	wakeBytes int     // of the call in progress
	waiting   bool    // a call is in progress
	listed    bool    // among the candidates of p
	calls     uint32
	seen      uint32 // calls at the last sweep
}

// ReadOrPark is Read for a server between two requests, when it has no state of the connection to keep. If nothing has
// arrived for 100 to 200 ms, it parks the connection: it returns ErrParked, and the caller should end its goroutine and
// drop c. Close of c then has no effect, and returns nil. The loop keeps the connection, for some hundred bytes of memory
// and no goroutine. When wakeBytes bytes have arrived (1 to MaxWakeBytes), Accept of the listener returns the connection as
// a new Conn, whose first bytes are these: Woken reports true. Nothing that was received or written is lost.
//
// While parked, the connection is closed if the peer closes or resets it, if the read deadline that c had passes, by
// Listener.Close, by loop.Config.IdleTimeout, or when the group begins to shut down.
//
// A connection is not parked, and ReadOrPark is Read, if it was dialed, if its listener is closed, while another Read or a
// Write is in progress, if c has a write deadline, and after SetLinger, CloseRead or CloseWrite. A wakeBytes out of
// range is loop.ErrBadArgument.
func (c *Conn) ReadOrPark(b []byte, wakeBytes int) (int, error) {
	if wakeBytes < 1 || wakeBytes > MaxWakeBytes {
		return 0, c.opError("read", fmt.Errorf("%w: wakeBytes is %d; it must be 1 to %d", loop.ErrBadArgument, wakeBytes, MaxWakeBytes))
	}
	c.mu.Lock()
	concurrent := c.idle != nil && c.idle.waiting
	if !concurrent && c.ln != nil {
		c.beginIdleLocked(wakeBytes)
	}
	n, err := c.readLocked(b)
	if !concurrent && c.idle != nil {
		c.idle.waiting = false
	}
	parked := c.parked
	c.mu.Unlock()
	if parked && errors.Is(err, net.ErrClosed) {
		err = ErrParked
	}
	if err != nil && err != io.EOF {
		err = c.opError("read", err)
	}
	return n, err
}

// Parked reports whether ReadOrPark has parked the connection, so that another Conn represents it, or will.
func (c *Conn) Parked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parked
}

// Woken reports whether the connection was parked before: then Accept has returned it as another Conn before.
func (c *Conn) Woken() bool { return c.woken }

// beginIdleLocked lets the next sweeps see the call of ReadOrPark that begins. c.mu must be held.
func (c *Conn) beginIdleLocked(wakeBytes int) {
	if c.closed || c.in != nil { // it does not wait
		return
	}
	i := c.idle
	if i == nil {
		i = &idleRead{p: c.ln.parkerOf(c.raw.Loop())}
		c.idle = i
	}
	i.waiting, i.wakeBytes = true, wakeBytes
	i.calls++
	if !i.listed && i.p != nil {
		i.listed = true
		i.p.list(c)
	}
}

// visit is the sweep's look at a candidate, on its loop. A call that the sweep before has seen as well has waited for at
// least parkAfter, and is parked. visit reports whether the connection remains a candidate.
func (c *Conn) visit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.idle
	if i.waiting && !c.closed && i.seen != i.calls {
		i.seen = i.calls
		return true
	}
	i.listed = false // the next call lists it again
	if c.parkableLocked() {
		c.parkLocked()
	}
	return false
}

// parkableLocked reports whether the connection can be parked. c.mu must be held, by the loop.
func (c *Conn) parkableLocked() bool {
	switch {
	case c.closed || c.ended || c.readEnded || c.readClosed || c.writeClosed:
		return false
	case !c.idle.waiting || c.into == nil || c.r.queued > 0 || c.r.expired:
		// Data has filled the call's slice, it has ended, or another Read may be the one that waits.
		return false
	case c.w.busy || c.w.expired || !c.w.at.IsZero() || c.linger >= 0:
		return false
	}
	return c.in == nil
}

// parkLocked gives the connection to its parked state, and ends the Conn. c.mu must be held, by the loop: what the connection
// receives from now on is for the parked state, so no byte reaches the Conn.
func (c *Conn) parkLocked() {
	k := &parked{p: c.idle.p, raw: c.raw, wakeBytes: uint8(c.idle.wakeBytes)}
	if !k.p.keep(k, c.r.at) {
		return // the listener is closed
	}
	u := c.raw.Handler().(*upcalls)
	u.c, u.k = nil, k
	c.closed, c.parked = true, true
	c.r.end()
	c.w.end()
}

// parked is what this package has of a parked connection, besides its handler.
type parked struct {
	p         *parker
	raw       *loop.Conn
	timer     wheel.Timer // the read deadline; accessed by the loop only
	wakeBytes uint8

	// The list of p, whose mu guards them.
	listed     bool
	next, prev *parked
}

// close closes the connection, on its loop.
func (k *parked) close() {
	k.p.drop(k)
	k.raw.Close()
}

// dataParked wakes the connection if the bytes suffice: a new Conn gets them, and goes to Accept, even if maxBacklog is reached:
// no more can be woken than have been accepted. It returns how many bytes it has consumed: all, or none, which the loop
// keeps.
func (u *upcalls) dataParked(b []byte) int {
	k := u.k
	if len(b) < int(k.wakeBytes) {
		return 0
	}
	k.p.drop(k)
	c := makeConn(k.raw, k.p.l)
	c.woken = true
	u.c, u.k = c, nil
	c.mu.Lock()
	c.keepLocked(b)
	c.mu.Unlock()
	c.ln.opened(c)
	return len(b)
}
