package netconn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

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

// parkLocked gives the connection to a parked handler, and ends the Conn. c.mu must be held, by the loop, outside of
// callbacks of the connection: so SetHandler takes effect before anything else is received, and no byte reaches the Conn.
func (c *Conn) parkLocked() {
	k := &parked{p: c.idle.p, raw: c.raw, wakeBytes: uint8(c.idle.wakeBytes), timed: !c.r.at.IsZero()}
	if !k.p.take(k) {
		return
	}
	if k.timed {
		c.raw.SetReadDeadline(c.r.at)
	}
	c.closed, c.parked = true, true
	c.r.end()
	c.w.end()
}

// parked is the handler of a parked connection. It is small, and the connection has no other memory of this package.
type parked struct {
	p          *parker
	raw        *loop.Conn
	next, prev *parked // in the list of p, whose mu guards them
	wakeBytes  uint8
	timed      bool // raw has a read deadline
	linked     bool // in the list of p, whose mu guards it
}

var (
	_ loop.Handler         = (*parked)(nil)
	_ loop.ClosedHandler   = (*parked)(nil)
	_ loop.ShutdownHandler = (*parked)(nil)
)

// Data implements loop.Handler. It wakes the connection: a new Conn gets the bytes, and goes to Accept. If the peer closes its
// side before enough bytes have arrived, the loop closes the connection, as the handler has no ReadClosed.
func (k *parked) Data(raw *loop.Conn, b []byte) (int, error) {
	if len(b) < int(k.wakeBytes) {
		return 0, nil
	}
	c := newConn(raw, k.p.l)
	c.woken = true
	if raw.SetHandler((*upcalls)(c)) != nil {
		return len(b), nil // it is ending, and Closed comes next
	}
	k.p.unlink(k)
	if k.timed {
		raw.SetReadDeadline(time.Time{})
	}
	c.mu.Lock()
	c.keepLocked(b)
	c.mu.Unlock()
	k.p.l.opened(c)
	return len(b), nil
}

// Shutdown implements loop.ShutdownHandler.
func (k *parked) Shutdown(raw *loop.Conn) { raw.Close() }

// Closed implements loop.ClosedHandler.
func (k *parked) Closed(*loop.Conn, error) { k.p.unlink(k) }
