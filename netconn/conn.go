package netconn

import (
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/unread"
	"github.com/pollux-io/pollux/loop"
)

// A Conn is a TCP connection, or one between Unix sockets, of a loop: what the functions of this package return
// as a net.Conn. Its methods may be called from any goroutine, several at a time. In a callback of the group
// those that would wait return loop.ErrOnLoop.
type Conn struct {
	raw           *loop.Conn
	ln            *Listener // nil if it was dialed
	local, remote net.Addr

	mu     sync.Mutex
	closed bool // by Close
	ended  bool // the loop has ended the connection, for the reason why
	parked bool // closed by ReadOrPark: the loop keeps the connection
	woken  bool // was parked, as another Conn; set once
	why    error
	linger int       // as of SetLinger; negative: the default
	idle   *idleRead // nil until ReadOrPark

	// Reading.
	r          half
	into       []byte         // of a Read that waits; nil when it has been filled
	got        int            // bytes that were copied to into
	in         *unread.Buffer // received bytes that no Read has taken; nil: none
	hasWaited  bool           // a Read has waited
	paused     bool           // the loop does not receive, because of what in has
	readEnded  bool           // by FIN
	readClosed bool           // by CloseRead

	// Writing.
	w           half
	drained     bool // the low watermark was reached since TryWrite returned ErrBufferFull, or before that
	independent bool // reading does not stop for unsent bytes
	writeClosed bool // by CloseWrite
	reported    bool // a call has returned the reset
}

var (
	_ net.Conn      = (*Conn)(nil)
	_ io.ReaderFrom = (*Conn)(nil)
	_ io.WriterTo   = (*Conn)(nil)
	_ syscall.Conn  = (*Conn)(nil)
)

// newConn returns the handler of a connection that opens, with its Conn, in its first callback.
func newConn(raw *loop.Conn, ln *Listener) *upcalls {
	return &upcalls{c: makeConn(raw, ln)}
}

func makeConn(raw *loop.Conn, ln *Listener) *Conn {
	c := &Conn{raw: raw, ln: ln, linger: -1, local: raw.LocalAddr(), remote: raw.RemoteAddr()}
	c.r.cond.L, c.w.cond.L = &c.mu, &c.mu
	// Callers of package net may rely on addresses; those of a connection that was reset already, and of
	// a Unix socket without a name, are not known.
	_, unix := c.local.(*net.UnixAddr)
	for _, a := range []*net.Addr{&c.local, &c.remote} {
		switch {
		case *a != nil:
		case unix || ln != nil && ln.network == "unix":
			*a = &net.UnixAddr{Net: "unix"}
		default:
			*a = &net.TCPAddr{}
		}
	}
	return c
}

// LocalAddr returns the local address, also after Close.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the peer's address, also after Close.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// opError returns err as package net does.
func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// Close closes the connection: calls in progress return net.ErrClosed, and so do all later ones. The loop sends
// what is unsent, then FIN, and waits for the peer to close its side, for up to loop.Config.LingerTimeout.
// After SetLinger(0) it resets the connection instead. Close does not wait.
func (c *Conn) Close() error {
	c.mu.Lock()
	switch {
	case c.parked:
		c.mu.Unlock()
		return nil
	case c.closed:
		c.mu.Unlock()
		return c.opError("close", net.ErrClosed)
	}
	c.closed = true
	c.dropUnreadLocked()
	c.r.end()
	c.w.end()
	reset := c.linger == 0
	c.mu.Unlock()
	if reset {
		c.raw.Abort()
	} else {
		c.raw.Close()
	}
	return nil // also if the loop has ended the connection before
}

// SetDeadline sets the deadlines of Read and Write. The zero Time means none. Calls after the deadline, and those that wait
// for it, return os.ErrDeadlineExceeded, until another one is set. The clock is that of package time.
func (c *Conn) SetDeadline(t time.Time) error {
	if !c.r.setDeadline(t, &c.closed) || !c.w.setDeadline(t, &c.closed) {
		return c.errSet()
	}
	return nil
}

// SetReadDeadline sets the deadline of Read, and of WriteTo.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if !c.r.setDeadline(t, &c.closed) {
		return c.errSet()
	}
	return nil
}

// SetWriteDeadline sets the deadline of Write, and of ReadFrom.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if !c.w.setDeadline(t, &c.closed) {
		return c.errSet()
	}
	return nil
}

func (c *Conn) errSet() error {
	return &net.OpError{Op: "set", Net: c.local.Network(), Addr: c.local, Err: net.ErrClosed}
}
