package loop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/wheel"
	"github.com/pollux-io/pollux/sock"
)

// A Listener accepts connections for a group. Its methods may be called from any
// goroutine.
type Listener struct {
	g      *Group
	addr   net.Addr
	accept func(*Conn) Handler
	parts  []*acceptor
	own    bool // made by the group: no other process has the sockets

	closing sync.Mutex // whoever finds it closed finds that the loops have been told
	closed  atomic.Bool
}

// acceptor is a listening socket on one loop. With SO_REUSEPORT each loop has one and
// keeps what it accepts; otherwise one accepts for all.
type acceptor struct {
	driver.Listener
	ln     *Listener
	loop   *Loop
	shares bool // what is accepted goes to the least loaded loop

	// The loop's own.
	backoff time.Duration
	warned  time.Time
	retry   wheel.Timer
	full    bool    // paused for MaxConns
	waiting []*Conn // accepted, and not admitted for that: one, or what came before the pause
	gone    bool
}

const (
	warnEvery  = 10 * time.Second // a warning in so long is enough
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
)

// Listen listens at address: of network "tcp" (host and port, as net.Listen has it,
// the host an IP address, "localhost" or empty), "tcp4", "tcp6", or "unix" (a path).
// For each connection accept is called, on its loop, and returns its handler; nil
// closes it. It waits for the loops, so in a callback it is ErrOnLoop. The error is a
// *net.OpError: the system's for the address (EADDRINUSE, EACCES, EADDRNOTAVAIL) or for
// want of descriptors (EMFILE), ErrBadConfig or ErrClosed.
func (g *Group) Listen(network, address string, accept func(*Conn) Handler) (*Listener, error) {
	if network == "unix" {
		return g.listenUnix(address, accept)
	}
	at, err := resolveStream(network, address)
	if errors.Is(err, errNetwork) && strings.HasPrefix(network, "udp") {
		err = fmt.Errorf("%w; ListenPacket takes those of UDP", err)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return g.listenTCP(at, accept)
}

func (g *Group) listenTCP(at netip.AddrPort, accept func(*Conn) Handler) (*Listener, error) {
	sockets, err := spreadTCP(len(g.working()), at, g.keepAliveOptions()...)
	if err != nil {
		return nil, err
	}
	acceptors := make([]driver.Acceptor, len(sockets))
	for i, s := range sockets {
		acceptors[i] = s
	}
	return g.serve(net.TCPAddrFromAddrPort(sockets[0].Addr()), acceptors, true, accept)
}

// Serve accepts from a listening socket that was made elsewhere, such as one that
// was inherited: it belongs to the group from now on, also if Serve fails, as Listen does.
func (g *Group) Serve(l *sock.TCPListener, accept func(*Conn) Handler) (*Listener, error) {
	if l == nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: needs("a listener")}
	}
	g.keepAliveServed(l)
	return g.serve(net.TCPAddrFromAddrPort(l.Addr()), []driver.Acceptor{l}, false, accept)
}

// ServeUnix is Serve for a listening Unix socket. The path of one that was inherited
// stays when the group closes it.
func (g *Group) ServeUnix(l *sock.UnixListener, accept func(*Conn) Handler) (*Listener, error) {
	if l == nil {
		return nil, &net.OpError{Op: "listen", Net: "unix", Err: needs("a listener")}
	}
	return g.serve(&net.UnixAddr{Name: l.Name(), Net: "unix"}, []driver.Acceptor{l}, false, accept)
}

func (g *Group) serve(addr net.Addr, sockets []driver.Acceptor, own bool, accept func(*Conn) Handler) (*Listener, error) {
	ln := &Listener{g: g, addr: addr, own: own, accept: accept}
	loops := g.working()
	for i, s := range sockets {
		a := &acceptor{ln: ln, loop: loops[i%len(loops)], shares: len(sockets) == 1 && len(loops) > 1}
		a.Acceptor, a.Up = s, a
		ln.parts = append(ln.parts, a)
	}
	if err := g.enroll(accept == nil, func() { g.listeners[ln] = struct{}{} }); err != nil {
		closeAll(sockets)
		return nil, &net.OpError{Op: "listen", Net: addr.Network(), Addr: addr, Err: err}
	}
	errs := make(chan error, len(ln.parts))
	for _, a := range ln.parts {
		a.loop.ask(errs, a.begin)
	}
	for range ln.parts {
		if err := g.await(errs); err != nil {
			ln.Close()
			return nil, &net.OpError{Op: "listen", Net: addr.Network(), Addr: addr, Err: err}
		}
	}
	return ln, nil
}

// listenUnix listens at a path, or an abstract name.
func (g *Group) listenUnix(name string, accept func(*Conn) Handler) (*Listener, error) {
	l, err := sock.ListenUnix(name)
	if err != nil {
		return nil, err
	}
	return g.serve(&net.UnixAddr{Name: name, Net: "unix"}, []driver.Acceptor{l}, true, accept)
}

// Addr returns the address listened at.
func (ln *Listener) Addr() net.Addr { return ln.addr }

// Close stops listening: once it has returned, connecting is refused, and the address is
// free. What was accepted before goes on; what waits in the backlog is reset. Of a socket
// that was handed to Serve, other processes may still have a descriptor: they listen on.
func (ln *Listener) Close() error {
	first := ln.unlisten()
	ln.g.mu.Lock() // afterwards, so that Shutdown waits for it
	delete(ln.g.listeners, ln)
	ln.g.mu.Unlock()
	if !first {
		return &net.OpError{Op: "close", Net: ln.addr.Network(), Addr: ln.addr, Err: ErrClosed}
	}
	return nil
}

func (ln *Listener) unlisten() bool {
	ln.closing.Lock()
	defer ln.closing.Unlock()
	if ln.closed.Swap(true) {
		return false
	}
	for _, a := range ln.parts {
		a.close()
		a.loop.Run(a.end)
	}
	return true
}

// close closes the socket; it may be called from any goroutine.
func (a *acceptor) close() {
	if a.ln.own {
		// A driver may have an accept in progress, and keep the descriptor until the
		// kernel has ended it: the socket does not listen meanwhile.
		a.Acceptor.StopListening()
	}
	a.Acceptor.Close()
}

func (a *acceptor) begin() error {
	if a.overtaken() {
		return a.loop.endedBecause()
	}
	err := a.loop.drv.Listen(&a.Listener)
	if err != nil && a.overtaken() { // meanwhile, and it has closed the socket
		return a.loop.endedBecause()
	}
	return err
}

// overtaken reports whether Shutdown, or the end of the loop, came before begin.
func (a *acceptor) overtaken() bool {
	return a.gone || a.ln.closed.Load() || a.loop.failed.Load() != nil
}

func (a *acceptor) end() {
	if !a.gone {
		a.gone = true
		a.loop.timers.Stop(&a.retry)
		a.loop.drv.Unlisten(&a.Listener)
		for _, c := range a.waiting {
			refuse(c)
		}
		a.waiting = nil
	}
}

// Incoming implements driver.ListenerUpcalls.
func (a *acceptor) Incoming() *driver.Stream { return &a.loop.newConn().stream }

// Accepted implements driver.ListenerUpcalls.
func (a *acceptor) Accepted(s *driver.Stream) {
	l := a.loop
	l.wakeUp()
	l.counts.accepts++
	a.backoff = 0
	if c := connOf(s); l.g.mayOpen() {
		a.admit(c)
	} else {
		a.tooMany(c)
	}
}

// admit takes a connection, which is counted.
func (a *acceptor) admit(c *Conn) {
	l := a.loop
	if a.shares {
		c.loop = l.g.least()
	}
	c.loop.load.Add(1)
	c.accepted = a.ln
	if c.loop == l {
		c.attach()
	} else {
		c.join() // or the loop has just ended: the connection came too late
	}
	if !l.g.config.RefuseAbove && !l.g.roomLeft() {
		a.pauseFull()
	}
}

// tooMany takes a connection above MaxConns. If they are not refused it waits, as those
// behind it do in the backlog: it was accepted before it was known that there is no room.
func (a *acceptor) tooMany(c *Conn) {
	if a.loop.g.config.RefuseAbove {
		a.loop.counts.refused++
		refuse(c)
		return
	}
	a.waiting = append(a.waiting, c)
	a.pauseFull()
}

// refuse resets a connection that was not admitted.
func refuse(c *Conn) {
	c.stream.SetLinger(0)
	c.stream.Close()
}

func (g *Group) roomLeft() bool {
	return g.config.MaxConns == 0 || g.conns.Load() < int64(g.config.MaxConns)
}

func (a *acceptor) pauseFull() {
	if a.full || a.gone {
		return
	}
	a.full = true
	a.loop.drv.PauseAccept(&a.Listener)
	a.resumeFull() // some may have gone meanwhile
}

// resumeFull goes on if there is room: first with what waits.
func (a *acceptor) resumeFull() {
	for a.full && !a.gone && a.loop.g.roomLeft() {
		if len(a.waiting) == 0 {
			a.waiting = nil
			a.full = false
			a.loop.drv.ResumeAccept(&a.Listener)
			return
		}
		if a.loop.g.mayOpen() {
			c := a.waiting[0]
			a.waiting = a.waiting[1:]
			a.admit(c)
		}
	}
}

func (g *Group) resumeListeners() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for ln := range g.listeners {
		for _, a := range ln.parts {
			a.loop.Run(a.resumeFull)
		}
	}
}

// AcceptFailed implements driver.ListenerUpcalls. Connections stay in the backlog
// while the listener is paused, which costs nothing; it tries again with back-off.
func (a *acceptor) AcceptFailed(err error) {
	if a.ln.closed.Load() {
		return // no wonder
	}
	if now := time.Now(); now.Sub(a.warned) > warnEvery {
		a.warned = now
		a.loop.g.config.Logger.Warn("pollux: accepting is paused", "listener", a.ln.addr, "error", err, "hint", acceptHint(err))
	}
	a.backoff = min(max(2*a.backoff, minBackoff), maxBackoff)
	a.retry.Fire = func(*wheel.Timer) {
		if !a.gone && !a.full {
			a.loop.drv.ResumeAccept(&a.Listener)
		}
	}
	a.loop.timers.Start(&a.retry, later(a.loop.clock(), a.backoff))
}

func acceptHint(err error) string {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return "raise the limit of open descriptors (ulimit -n; pollux doctor says to what), or set MaxConns"
	}
	return "accepting is tried again"
}
