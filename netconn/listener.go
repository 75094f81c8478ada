package netconn

import (
	"net"
	"sync"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// maxBacklog is how many connections wait for Accept before the loops stop accepting; then they wait in the
// kernel's backlog. The few that a driver accepts before it has stopped come in addition, and those whose TLS handshake was
// in progress; loop.Config.MaxConns bounds them all. At resumeBacklog the loops accept again.
const (
	maxBacklog    = 128
	resumeBacklog = maxBacklog / 2
)

// A Listener accepts connections for Accept: what Listen returns as a net.Listener. Its methods may be called from any
// goroutine, several at a time.
type Listener struct {
	g       *loop.Group
	network string
	addr    net.Addr      // set before Listen returns
	done    chan struct{} // closed by Close
	tls     bool          // Accept returns *TLSConns

	mu      sync.Mutex
	raw     *loop.Listener // nil until Listen returns
	a       half           // the calls of Accept
	backlog []*Conn        // open connections that no Accept has returned, the oldest first
	paused  bool           // the loops do not accept, because of the backlog
	closed  bool           // by Close, or because the group has ended
	parkers []*parker      // one for each loop; nil until a connection calls ReadOrPark
}

var _ net.Listener = (*Listener)(nil)

// Listen listens at address, of network "tcp", "tcp4", "tcp6" or "unix", as loop.Group.Listen does, which has the options
// and errors. The Listener accepts on all loops of the group, up to 128 connections ahead of Accept. It is a *Listener.
func Listen(g *loop.Group, network, address string, options ...sock.Option) (net.Listener, error) {
	return (&ListenConfig{Group: g, Options: options}).Listen(network, address)
}

// watchGroup closes the listener when all loops of the group have ended.
func (l *Listener) watchGroup() {
	for _, x := range l.g.Loops() {
		select {
		case <-x.Done():
		case <-l.done:
			return
		}
	}
	l.end()
}

// opened adds a connection that has been accepted, on its loop.
func (l *Listener) opened(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.raw.Abort() // as the kernel resets those of its backlog
		return
	}
	l.backlog = append(l.backlog, c)
	l.pauseIfFullLocked()
	l.a.wake()
}

func (l *Listener) pauseIfFullLocked() {
	if len(l.backlog) >= maxBacklog && !l.paused && l.raw != nil {
		l.paused = l.raw.Pause() == nil
	}
}

// Accept waits for the next connection, a *Conn, or a *TLSConn if ListenConfig.TLSConfig was set: until the deadline
// (os.ErrDeadlineExceeded), Close, or the end of the group (net.ErrClosed). In a callback of the group it returns loop.ErrOnLoop instead of waiting.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.accept()
	if err != nil {
		return nil, l.opError("accept", err)
	}
	return c.asNet(l.tls), nil
}

func (l *Listener) accept() (*Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.a.awaitTurn(&l.closed)
	l.a.busy = true
	defer l.a.leave()
	for {
		switch {
		case l.closed:
			return nil, net.ErrClosed
		case l.a.expired:
			return nil, errDeadline
		case len(l.backlog) > 0:
			return l.nextLocked(), nil
		case l.g.OnLoop():
			return nil, loop.ErrOnLoop
		}
		l.a.cond.Wait()
	}
}

// nextLocked takes the oldest connection. l.mu must be held.
func (l *Listener) nextLocked() *Conn {
	c := l.backlog[0]
	l.backlog[0] = nil
	if l.backlog = l.backlog[1:]; len(l.backlog) == 0 {
		l.backlog = nil
	}
	if l.paused && len(l.backlog) <= resumeBacklog {
		l.paused = false
		l.raw.Resume()
	}
	return c
}

// Close stops listening: calls of Accept return net.ErrClosed. Connections that no Accept has returned are
// reset, at the end of their TLS handshake if one is in progress, and those that are parked (Conn.ReadOrPark) are closed; the
// others stay open.
func (l *Listener) Close() error {
	if !l.end() {
		return l.opError("close", net.ErrClosed)
	}
	close(l.done)
	l.raw.Close() // it may have been closed by the group
	return nil
}

// end makes Accept return net.ErrClosed, and resets the backlog. It returns false if it has done so before.
func (l *Listener) end() bool {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	backlog := l.backlog
	l.backlog = nil
	l.closeParkedLocked()
	l.a.end()
	l.mu.Unlock()
	for _, c := range backlog {
		c.raw.Abort()
	}
	return first
}

// Addr returns the listening address.
func (l *Listener) Addr() net.Addr { return l.addr }

// SetDeadline sets the deadline of Accept. The zero Time means none.
func (l *Listener) SetDeadline(t time.Time) error {
	if !l.a.setDeadline(t, &l.closed) {
		return l.opError("set", net.ErrClosed)
	}
	return nil
}

func (l *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: l.addr.Network(), Addr: l.addr, Err: err}
}
