package loop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/admission"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/hostport"
	"github.com/pollux-io/pollux/internal/loglimit"
	"github.com/pollux-io/pollux/internal/spread"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/wheel"
	"github.com/pollux-io/pollux/sock"
)

// A Listener accepts connections for a group. Its methods may be called from any
// goroutine.
type Listener struct {
	g         *Group
	addr      net.Addr
	accept    func(*Conn) Handler
	acceptors []*acceptor
	own       bool // made by the group: no other process has the sockets

	closing sync.Mutex // held until the loops are notified: another Close returns only after that
	closed  atomic.Bool
	paused  atomic.Bool // as requested by Pause and Resume
}

// acceptor is a listening socket on one loop. With SO_REUSEPORT each loop has one and keeps the
// connections it accepts; otherwise one accepts for all loops.
type acceptor struct {
	driver.Listener
	ln       *Listener
	loop     *Loop
	balances bool // accepted connections go to the least loaded loop

	// Accessed by the loop only.
	policy  *admission.Acceptor
	warned  loglimit.Limiter
	retry   wheel.Timer
	pending []pendingConn // accepted above MaxConns: one, or several if the driver delivered them before the pause
}

// pendingConn is a connection that was accepted and not yet admitted.
type pendingConn struct {
	c    *Conn
	peer netip.AddrPort
}

// newAcceptor returns the acceptor of a listening socket on a loop.
func (ln *Listener) newAcceptor(l *Loop, s driver.Acceptor) *acceptor {
	a := &acceptor{ln: ln, loop: l, warned: loglimit.Limiter{To: ln.g.config.Logger, Burst: 1}}
	a.Acceptor, a.Up = s, a
	a.policy = admission.NewAcceptor(&ln.g.limits, a)
	return a
}

// Listen listens at address: of network "tcp" (host and port, as for net.Listen, the host an IP
// address, "localhost" or empty), "tcp4", "tcp6", or "unix" (a path). For each connection accept
// is called, on its loop, and returns its handler; nil closes it. With a handler of package tlsconn the
// handshake comes then, after bytes that accept has written, and Opened after that. Listen waits for the loops, as
// described at Group, so in a callback it returns ErrOnLoop.
//
// options are those of package sock for sockets that listen. Each of the listening sockets gets
// them (on Linux there is one for each loop), and sock.Control is called for each. ReadBuffer,
// WriteBuffer, NoDelay, KeepAlive and UserTimeout are for the connections; KeepAlive overrides
// Config.KeepAlive. ReusePort shares the address with other processes; it is not needed for the
// loops. One that is out of range or does not apply is ErrBadArgument.
//
// The error is a *net.OpError: the system's for the address (EADDRINUSE, EACCES, EADDRNOTAVAIL) or
// for an option, out of descriptors (EMFILE), ErrBadArgument or ErrClosed.
func (g *Group) Listen(network, address string, accept func(*Conn) Handler, options ...sock.Option) (*Listener, error) {
	if network == "unix" {
		return g.listenUnix(address, accept, options)
	}
	at, err := hostport.ParseStream(network, address)
	if errors.Is(err, hostport.ErrNetwork) && strings.HasPrefix(network, "udp") {
		err = fmt.Errorf("%w; ListenPacket takes those of UDP", err)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return g.listenTCP(at, accept, options)
}

// Resolve parses an address of host and port as Listen and ListenPacket do, without a name
// lookup: the host is an IP address, "localhost", or empty for all addresses; the port is a
// number. network is "tcp" or "udp", optionally followed by "4" or "6". The error describes the
// invalid part, for display.
func Resolve(network, address string) (netip.AddrPort, error) {
	if strings.HasPrefix(network, "udp") {
		return hostport.Parse(network, "udp", address)
	}
	return hostport.Parse(network, "tcp", address)
}

func (g *Group) listenTCP(at netip.AddrPort, accept func(*Conn) Handler, options []sock.Option) (*Listener, error) {
	if err := g.checkListen(accept == nil); err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(at), Err: err}
	}
	sockets, err := spread.TCP(g.socketsToListen(), at, append(slices.Clip(g.options), options...)...)
	if err != nil {
		return nil, err
	}
	acceptors := make([]driver.Acceptor, len(sockets))
	for i, s := range sockets {
		acceptors[i] = s
	}
	return g.serve(net.TCPAddrFromAddrPort(sockets[0].Addr()), acceptors, true, accept)
}

// socketsToListen returns the number of sockets of Listen and ListenPacket: a simulated network does
// not balance between several.
func (g *Group) socketsToListen() int {
	if g.sim != nil {
		return 1
	}
	return len(g.workingLoops())
}

// Serve accepts from a listening socket that was made elsewhere, such as an inherited one. The
// group owns the socket from now on, even if Serve fails.
//
// options are those that an open socket can take: ReadBuffer, WriteBuffer, NoDelay, KeepAlive and
// UserTimeout of package sock, for the connections that arrive from now on. Others are
// ErrBadArgument. Errors are as for Listen.
func (g *Group) Serve(l *sock.TCPListener, accept func(*Conn) Handler, options ...sock.Option) (*Listener, error) {
	if l == nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: errNil("a listener")}
	}
	addr := net.TCPAddrFromAddrPort(l.Addr())
	g.keepAliveServed(l)
	err := l.SetOptions(options...)
	if err == nil {
		err = g.checkNetwork(handle.Of(l))
	}
	if err != nil {
		l.Close()
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: addr, Err: causeOf(err)}
	}
	return g.serve(addr, []driver.Acceptor{l}, false, accept)
}

// ServeUnix is Serve for a listening Unix socket, with the options ReadBuffer and WriteBuffer. When
// the group closes an inherited one, its path is not removed.
func (g *Group) ServeUnix(l *sock.UnixListener, accept func(*Conn) Handler, options ...sock.Option) (*Listener, error) {
	if l == nil {
		return nil, &net.OpError{Op: "listen", Net: "unix", Err: errNil("a listener")}
	}
	addr := &net.UnixAddr{Name: l.Addr(), Net: "unix"}
	err := l.SetOptions(options...)
	if err == nil {
		err = g.checkNetwork(handle.Of(l))
	}
	if err != nil {
		l.Close()
		return nil, &net.OpError{Op: "listen", Net: "unix", Addr: addr, Err: causeOf(err)}
	}
	return g.serve(addr, []driver.Acceptor{l}, false, accept)
}

func (g *Group) serve(addr net.Addr, sockets []driver.Acceptor, own bool, accept func(*Conn) Handler) (*Listener, error) {
	ln := &Listener{g: g, addr: addr, own: own, accept: accept}
	loops := g.workingLoops()
	for i, s := range sockets {
		a := ln.newAcceptor(loops[i%len(loops)], s)
		a.balances = len(sockets) == 1 && len(loops) > 1
		ln.acceptors = append(ln.acceptors, a)
	}
	if err := g.register(accept == nil, func() { g.listeners = append(g.listeners, ln) }); err != nil {
		spread.CloseAll(sockets)
		return nil, &net.OpError{Op: "listen", Net: addr.Network(), Addr: addr, Err: err}
	}
	h := g.newHandOver(len(ln.acceptors), addr)
	for _, a := range ln.acceptors {
		h.start(a.loop, a.begin, func() { a.close(); a.end() })
	}
	if err := h.wait(); err != nil {
		ln.Close()
		return nil, &net.OpError{Op: "listen", Net: addr.Network(), Addr: addr, Err: err}
	}
	return ln, nil
}

// listenUnix listens at a path or an abstract name.
func (g *Group) listenUnix(name string, accept func(*Conn) Handler, options []sock.Option) (*Listener, error) {
	if err := g.checkListen(accept == nil); err != nil {
		return nil, &net.OpError{Op: "listen", Net: "unix", Addr: &net.UnixAddr{Name: name, Net: "unix"}, Err: err}
	}
	l, err := sock.ListenUnix(name, g.onNetwork(options)...)
	if err != nil {
		return nil, err
	}
	return g.serve(&net.UnixAddr{Name: name, Net: "unix"}, []driver.Acceptor{l}, true, accept)
}

// Addr returns the listening address.
func (ln *Listener) Addr() net.Addr { return ln.addr }

// Close stops listening: once it has returned, connecting is refused, and the address is free.
// Accepted connections stay open; those in the backlog are reset. If the socket was given to
// Serve, other processes may still have a descriptor: they keep listening.
func (ln *Listener) Close() error {
	first := ln.unlisten()
	ln.g.mu.Lock() // after unlisten, so that Shutdown waits for it
	ln.g.listeners = slices.DeleteFunc(ln.g.listeners, func(x *Listener) bool { return x == ln })
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
	for _, a := range ln.acceptors {
		a.close()
		a.loop.putEnd(a.end)
	}
	return true
}

// close closes the socket; it may be called from any goroutine.
func (a *acceptor) close() {
	if a.ln.own {
		// A driver may have an accept in flight, and keep the descriptor until the kernel has
		// ended it: the socket must not listen meanwhile.
		a.Acceptor.StopListening()
	}
	a.Acceptor.Close()
}

func (a *acceptor) begin() error {
	if a.alreadyClosed() {
		return a.loop.endedError()
	}
	err := a.loop.drv.Listen(&a.Listener)
	if err != nil && a.alreadyClosed() { // closed in the meantime, which explains err
		return a.loop.endedError()
	}
	return err
}

// alreadyClosed reports whether Close, Shutdown or the end of the loop came first.
func (a *acceptor) alreadyClosed() bool {
	return a.policy.Closed() || a.ln.closed.Load() || a.loop.failed.Load() != nil
}

func (a *acceptor) end() {
	if a.policy.Close() {
		a.loop.timers.Stop(&a.retry)
		a.loop.drv.Unlisten(&a.Listener)
		for _, w := range a.pending {
			refuse(w.c)
		}
		a.pending = nil
	}
}

// Incoming implements driver.ListenerUpcalls.
func (a *acceptor) Incoming() *driver.Stream { return &a.loop.newConn().stream }

// Accepted implements driver.ListenerUpcalls.
func (a *acceptor) Accepted(s *driver.Stream) {
	l := a.loop
	l.wakeUp()
	l.counts.accepts++
	v := a.policy.Accept()
	switch c := connOf(s); v {
	case admission.Admit:
		a.admit(c, a.Peer)
	case admission.Wait:
		a.pending = append(a.pending, pendingConn{c, a.Peer})
	case admission.Refuse:
		l.counts.refused++
		refuse(c)
	}
	a.policy.Accepted(v)
}

// admit adds a connection that is counted already.
func (a *acceptor) admit(c *Conn, peer netip.AddrPort) {
	l := a.loop
	if a.balances {
		c.loop = l.g.leastLoaded()
	}
	c.loop.load.Add(1)
	c.accepted = a.ln
	c.loop.peers.add(c, peer)
	if c.loop == l {
		c.attach()
	} else {
		c.enqueueAttach() // if the loop has just ended, this closes the connection
	}
}

// refuse resets a connection that was not admitted.
func refuse(c *Conn) {
	c.stream.SetLinger(0)
	c.stream.Close()
}

// AcceptFailed implements driver.ListenerUpcalls.
func (a *acceptor) AcceptFailed(err error) {
	if a.ln.closed.Load() {
		return // a consequence of Close
	}
	a.warned.Warn("pollux: accepting is paused", "listener", a.ln.addr, "error", err, "hint", acceptHint(err))
	a.policy.Failed(sys.IsResourceError(err))
}

func acceptHint(err error) string {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return "raise the limit of open descriptors (ulimit -n; pollux doctor reports a value), or set MaxConns"
	}
	return "accepting will be retried"
}

var _ admission.Host = (*acceptor)(nil)

// PauseAccept implements admission.Host.
func (a *acceptor) PauseAccept() { a.loop.drv.PauseAccept(&a.Listener) }

// ResumeAccept implements admission.Host.
func (a *acceptor) ResumeAccept() { a.loop.drv.ResumeAccept(&a.Listener) }

// RetryAfter implements admission.Host.
func (a *acceptor) RetryAfter(d time.Duration) {
	a.retry.Fire = func(*wheel.Timer) { a.policy.Retry() }
	a.loop.timers.Start(&a.retry, later(a.loop.clock(), d))
}

// Pending implements admission.Host.
func (a *acceptor) Pending() int { return len(a.pending) }

// AdmitPending implements admission.Host.
func (a *acceptor) AdmitPending() {
	w := a.pending[0]
	a.pending[0] = pendingConn{}
	if a.pending = a.pending[1:]; len(a.pending) == 0 {
		a.pending = nil
	}
	a.admit(w.c, w.peer)
}

// Put implements admission.Host.
func (a *acceptor) Put(f func()) bool { return a.loop.put(op{f: f}) }
