package parkhttp

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/netconn"
)

// wakeBytes is how many bytes of a request wake a connection. net/http waits for as many (bufio.Reader.Peek) before
// ReadHeaderTimeout begins: a client that sends fewer stays subject to IdleTimeout.
const wakeBytes = 4

// A Conn is a connection of a Listener: a netconn.Conn that is parked between two requests of net/http. Its methods may be
// called from any goroutine.
type Conn struct {
	*netconn.Conn
	idleBytes int
	phase     atomic.Uint32 // a phase
	matched   int           // bytes of the HTTP/2 preface that the stream has begun with; of the first Reads only
}

var _ net.Conn = (*Conn)(nil)

// phase is how far a Conn is from being parked.
type phase uint32

const (
	fresh    phase = iota // the protocol is not known
	woken                 // no Read since it was parked
	active                // a request is in progress
	idle                  // StateIdle was reported
	awaiting              // then SetReadDeadline was called, once: a Read with an empty buffer may park it
	excluded              // it is never parked: HTTP/2, or hijacked
)

func (c *Conn) load() phase { return phase(c.phase.Load()) }

// change changes the phase unless it is another than from.
func (c *Conn) change(from, to phase) { c.phase.CompareAndSwap(uint32(from), uint32(to)) }

// enter is called when net/http reports a state.
func (c *Conn) enter(s http.ConnState) {
	switch s {
	case http.StateIdle:
		c.change(active, idle)
	case http.StateHijacked:
		c.phase.Store(uint32(excluded))
	}
}

// SetReadDeadline is that of netconn.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	switch c.load() {
	case idle: // for the next request to begin
		c.change(idle, awaiting)
	case awaiting: // for the rest of a request whose beginning was in the buffer, which may be consumed
		c.change(awaiting, active)
	}
	return c.Conn.SetReadDeadline(t)
}

// Read is that of netconn.Conn, except that it may park the connection between two requests of net/http. Then it
// returns netconn.ErrParked.
func (c *Conn) Read(b []byte) (int, error) {
	switch p := c.load(); p {
	case active, excluded:
		return c.Conn.Read(b)
	case fresh:
		n, err := c.Conn.Read(b)
		c.begin(b[:n])
		return n, err
	case woken:
		return c.readWoken(b)
	default:
		c.change(p, active)
		if p == awaiting && len(b) == c.idleBytes {
			return c.Conn.ReadOrPark(b, wakeBytes)
		}
		return c.Conn.Read(b)
	}
}

// preface is how an HTTP/2 connection begins (RFC 9113, 3.4), as far as no method of HTTP does.
const preface = "PRI * HTTP/2"

// begin looks at the first bytes: net/http reports StateIdle for HTTP/2, too.
func (c *Conn) begin(b []byte) {
	for _, x := range b {
		if x != preface[c.matched] {
			c.change(fresh, active)
			return
		}
		if c.matched++; c.matched == len(preface) {
			c.change(fresh, excluded)
			return
		}
	}
}

// readWoken is the first Read after the connection was parked, which finds at least wakeBytes bytes. It drops the CR and LF
// among the first ones, which some clients send after the body of a POST: net/http does that itself, but only if it
// remembers the POST.
func (c *Conn) readWoken(b []byte) (int, error) {
	c.change(woken, active)
	n, err := c.Conn.Read(b)
	i := 0
	for i < min(n, wakeBytes) && (b[i] == '\r' || b[i] == '\n') {
		i++
	}
	if i == 0 || err != nil {
		return n, err
	}
	if n = copy(b, b[i:n]); n > 0 {
		return n, nil
	}
	return c.Conn.Read(b)
}
