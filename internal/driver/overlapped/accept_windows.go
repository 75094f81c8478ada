package overlapped

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// Flags of a listener.
const (
	paused   = driver.Paused
	listed   = driver.Listed
	unlisted = driver.Unlisted
)

// An acceptor is the driver's state of a listener, until its last accept has ended.
type acceptor struct {
	l             *driver.Listener
	call          sys.AcceptEx
	family        int
	kind          handle.Kind // of what is accepted
	skipOnSuccess bool        // accepts that succeed immediately post no completion
	// polled: the listener belongs to another port, so readiness is polled, and
	// connections are accepted without blocking.
	polled bool
	ready  bool // polled, and there may be connections

	slots    [acceptsInFlight]acceptSlot
	inFlight int
	retry    bool       // stopped after many connections lost in the backlog; the next turn continues
	held     []accepted // connections to deliver when the listener is not paused
	failed   error      // for AcceptFailed
}

// accepted is a connection to deliver.
type accepted struct {
	fd   sys.FD
	peer netip.AddrPort
}

// An acceptSlot is one accept operation with its memory and socket.
type acceptSlot struct {
	a     *acceptor
	op    *op
	addrs []byte // receives the addresses
	fd    sys.FD // the prepared socket, or InvalidFD
}

// Listen implements driver.Driver.
func (d *Driver) Listen(l *driver.Listener) error {
	h := handle.Of(l)
	fd, ok := h.Use()
	if !ok {
		return net.ErrClosed
	}
	defer h.Done()
	a := &acceptor{l: l, kind: handle.TCPStream}
	if h.Kind() == handle.UnixListener {
		a.kind = handle.UnixStream
	}
	name, e := sys.LocalAddr(fd)
	if e != 0 {
		return sys.CallError("getsockname", e)
	}
	a.family = name.Family()
	if err := d.joinListener(a, fd); err != nil {
		d.freeListener(a)
		return err
	}
	l.Flags |= listed
	d.AddAccepting(l)
	return nil
}

func (d *Driver) joinListener(a *acceptor, fd sys.FD) (err error) {
	d.listeners.Add(a, &a.l.State)
	port, ok := d.port.Use()
	if !ok {
		return net.ErrClosed
	}
	defer d.port.Done()
	switch e := sys.JoinPort(fd, port, opKey); e {
	case 0:
	case syscall.EINVAL: // it belongs to another port
		a.polled, a.ready = true, true
		return d.q.Register(handle.Of(a.l), driver.Token(kindListener, a.l.Generation, a.l.Index), selector.Readable, selector.Edge)
	default:
		return joinError(e)
	}
	var e syscall.Errno
	if a.call, e = sys.FindAcceptEx(fd); e != 0 {
		return fmt.Errorf("getting AcceptEx from the socket's provider: %w", sys.CallError("WSAIoctl", e))
	}
	a.skipOnSuccess = sys.SkipCompletionOnSuccess(fd)
	for i := range a.slots {
		t := &a.slots[i]
		t.a, t.fd = a, sys.InvalidFD
		if t.op, err = d.memory.getOp(acceptOp); err != nil {
			return err
		}
		t.op.slot = t
		if t.addrs, err = d.memory.getAddrs(); err != nil {
			return err
		}
	}
	return nil
}

// freeListener frees the listener's operations and memory; no accept may be in flight.
func (d *Driver) freeListener(a *acceptor) {
	a.l.Flags &^= listed
	d.listeners.Remove(&a.l.State)
	for i := range a.slots {
		t := &a.slots[i]
		if t.op != nil {
			d.memory.putOp(t.op)
		}
		if t.addrs != nil {
			d.memory.putAddrs(t.addrs)
		}
	}
}

// acceptorOf returns the listener's acceptor, or nil if it does not accept.
func (d *Driver) acceptorOf(l *driver.Listener) *acceptor {
	if l.Flags&(listed|unlisted) != listed {
		return nil
	}
	return d.listeners.At(l.Index)
}

// PauseAccept implements driver.Driver. The next turn cancels the accepts in flight, if the
// listener is still paused then; connections that they still accept are held.
func (d *Driver) PauseAccept(l *driver.Listener) { d.setPaused(l, true) }

// ResumeAccept implements driver.Driver.
func (d *Driver) ResumeAccept(l *driver.Listener) { d.setPaused(l, false) }

func (d *Driver) setPaused(l *driver.Listener, on bool) {
	if d.acceptorOf(l) == nil || (l.Flags&paused != 0) == on {
		return
	}
	l.Flags ^= paused
	d.AddAccepting(l)
}

// Unlisten implements driver.Driver.
func (d *Driver) Unlisten(l *driver.Listener) {
	l.Spare = nil
	a := d.acceptorOf(l)
	l.Flags |= unlisted
	if a == nil {
		l.Close()
		return
	}
	d.cancelAccepts(a)
	l.Close()
	for _, c := range a.held {
		driver.ResetConn(c.fd)
	}
	a.held, a.failed = nil, nil
	for i := range a.slots {
		if t := &a.slots[i]; t.op != nil && t.op.state == idle {
			t.dropSocket()
		}
	}
	if a.inFlight == 0 {
		d.freeListener(a)
	}
}

func (t *acceptSlot) dropSocket() {
	if t.fd != sys.InvalidFD {
		driver.ResetConn(t.fd) // it may be connected, but not delivered
		t.fd = sys.InvalidFD
	}
}

func (d *Driver) cancelAccepts(a *acceptor) {
	if a.inFlight == 0 {
		return
	}
	if fd, ok := handle.Of(a.l).Use(); ok {
		sys.CancelOverlapped(fd, nil)
		handle.Of(a.l).Done()
	}
}

// submitAccepts starts or cancels accepts of the listeners in Accepting. Those that have something to
// deliver stay there.
func (d *Driver) submitAccepts() {
	for range d.Accepting.Len() {
		l := d.Accepting.Take()
		a := d.acceptorOf(l)
		if a == nil {
			continue
		}
		a.retry = false
		if l.Flags&paused != 0 {
			d.cancelAccepts(a)
			continue
		}
		if !a.polled {
			a.failed = errors.Join(a.failed, d.startAccepts(a))
		}
		if len(a.held) > 0 || a.failed != nil || a.ready || a.retry {
			d.AddAccepting(l)
		}
	}
}

// startAccepts starts an accept in each idle slot. It returns an error only if no accept is in
// flight and none can be started: as long as one is, connections are accepted.
func (d *Driver) startAccepts(a *acceptor) error {
	h := handle.Of(a.l)
	listener, ok := h.Use()
	if !ok {
		return nil // closed; Unlisten follows
	}
	defer h.Done()
	for i := range a.slots {
		t := &a.slots[i]
		if t.op.state != idle {
			continue
		}
		if err := d.startAccept(a, t, listener); err != nil {
			if a.inFlight == 0 && len(a.held) == 0 {
				return err
			}
			return nil
		}
	}
	return nil
}

func (d *Driver) startAccept(a *acceptor, t *acceptSlot, listener sys.FD) error {
	// Skip a few connections that are lost while they are accepted.
	for range acceptsInFlight {
		if t.fd == sys.InvalidFD {
			fd, e := sys.Socket(a.family, sys.SOCK_STREAM, 0)
			if e != 0 {
				return a.failure("socket", e)
			}
			t.fd = fd
		}
		done, e := a.call.StartAccept(listener, t.fd, t.addrs, t.op.ov)
		switch {
		case e == 0 && done && a.skipOnSuccess:
			a.hold(t, listener)
		case e == 0:
			t.op.state = inFlight
			a.inFlight++
			d.inFlight++
			return nil
		default:
			t.dropSocket()
			if !sys.LostInBacklog(e) {
				return a.failure("AcceptEx", e)
			}
		}
	}
	a.retry = true
	return nil
}

func (a *acceptor) failure(call string, e syscall.Errno) error {
	return &net.OpError{Op: "accept", Net: a.kind.Network(), Err: sys.CallError(call, e)}
}

// hold moves the connected socket from its slot to held.
func (a *acceptor) hold(t *acceptSlot, listener sys.FD) {
	fd := t.fd
	t.fd = sys.InvalidFD
	// This fails if the connection has been reset; reading it will report that better.
	sys.FinishAccept(listener, fd)
	a.held = append(a.held, accepted{fd, sys.AcceptedPeer(t.addrs)})
}

// acceptEnded handles the completion of an accept.
func (d *Driver) acceptEnded(o *op) {
	t := o.slot
	a := t.a
	a.inFlight--
	h := handle.Of(a.l)
	listener, ok := h.Use()
	if a.l.Flags&unlisted != 0 || !ok {
		if ok {
			h.Done()
		}
		t.dropSocket()
		if a.l.Flags&unlisted != 0 && a.inFlight == 0 {
			d.freeListener(a)
		}
		return
	}
	defer h.Done()
	d.AddAccepting(a.l)
	if _, e := sys.OverlappedResult(listener, o.ov); e == 0 {
		a.hold(t, listener)
		if a.l.Flags&paused == 0 {
			d.deliverAccepted(a)
		}
	} else {
		t.dropSocket() // its state is undocumented
		if e != syscall.ECANCELED && !sys.LostInBacklog(e) {
			a.failed = a.failure("AcceptEx", e)
		}
	}
}

// serveAccepting makes the upcalls of a listener in Accepting. It stays there, for the next turn to
// start further accepts.
func (d *Driver) serveAccepting(l *driver.Listener) {
	a := d.acceptorOf(l)
	if a == nil {
		return
	}
	d.AddAccepting(l)
	if a.polled {
		d.acceptPolled(a)
	}
	d.deliverAccepted(a)
	if err := a.failed; err != nil && l.Flags&(paused|unlisted) == 0 {
		a.failed = nil
		l.Flags |= paused
		l.Up.AcceptFailed(err)
	}
}

// deliverAccepted delivers the held connections.
func (d *Driver) deliverAccepted(a *acceptor) {
	l := a.l
	for len(a.held) > 0 && l.Flags&(paused|unlisted) == 0 {
		if l.Spare == nil {
			l.Spare = l.Up.Incoming()
			continue // Incoming may have paused or closed the listener
		}
		s, fd := l.Spare, a.held[0].fd
		l.Peer = a.held[0].peer
		l.Spare = nil
		a.held = a.held[:copy(a.held, a.held[1:])]
		stream.AcceptOptionsOf(l).Apply(fd)
		handle.Of(s).Init(fd, a.kind)
		l.Up.Accepted(s)
	}
}

// acceptPolled accepts from the backlog of a listener that belongs to another port.
func (d *Driver) acceptPolled(a *acceptor) {
	l := a.l
	for range acceptsInFlight {
		if !a.ready || l.Flags&(paused|unlisted) != 0 {
			return
		}
		if l.Spare == nil {
			l.Spare = l.Up.Incoming()
		}
		switch err := l.AcceptSpare(); {
		case err == sock.ErrWouldBlock:
			a.ready = false
			return
		case err != nil:
			a.failed = err
			return
		}
		s := l.Spare
		l.Spare = nil
		l.Up.Accepted(s)
	}
}
