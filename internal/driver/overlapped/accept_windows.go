package overlapped

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// Flags of a listener.
const (
	paused   = 1 << iota
	listed   // in Driver.listeners
	unlisted // permanently
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
	changed  bool       // in Driver.changed
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
	h := l.PollHandle()
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
	d.markChanged(a)
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
		return d.reg.Register(a.l, driver.Token(kindListener, a.l.Generation, a.l.Index), pollux.Readable, pollux.Edge)
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

// markChanged has the next turn update the listener's accepts.
func (d *Driver) markChanged(a *acceptor) {
	if !a.changed {
		a.changed = true
		d.changed = append(d.changed, a)
	}
}

// PauseAccept implements driver.Driver. The next turn cancels the accepts in flight, if the
// listener is still paused then; connections that they still accept are held.
func (d *Driver) PauseAccept(l *driver.Listener) { d.setPaused(l, true) }

// ResumeAccept implements driver.Driver.
func (d *Driver) ResumeAccept(l *driver.Listener) { d.setPaused(l, false) }

func (d *Driver) setPaused(l *driver.Listener, on bool) {
	if l.Flags&listed == 0 || (l.Flags&paused != 0) == on {
		return
	}
	l.Flags ^= paused
	d.markChanged(d.listeners.At(l.Index))
}

// Unlisten implements driver.Driver.
func (d *Driver) Unlisten(l *driver.Listener) {
	l.Spare = nil
	if l.Flags&listed == 0 {
		l.Close()
		return
	}
	l.Flags = l.Flags&^listed | unlisted
	a := d.listeners.At(l.Index)
	d.cancelAccepts(a)
	l.Close()
	for _, c := range a.held {
		resetConn(c.fd)
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
		resetConn(t.fd) // it may be connected, but not delivered
		t.fd = sys.InvalidFD
	}
}

// resetConn resets a connection, as the system resets those in the backlog of a closed listener.
func resetConn(fd sys.FD) {
	sys.SetLinger(fd, true, 0)
	sys.Close(fd)
}

func (d *Driver) cancelAccepts(a *acceptor) {
	if a.inFlight == 0 {
		return
	}
	if fd, ok := a.l.PollHandle().Use(); ok {
		sys.CancelOverlapped(fd, nil)
		a.l.PollHandle().Done()
	}
}

// submitAccepts starts or cancels accepts of the changed listeners.
func (d *Driver) submitAccepts() {
	kept := d.changed[:0]
	for _, a := range d.changed {
		a.changed, a.retry = false, false
		switch {
		case a.l.Flags&unlisted != 0:
			continue
		case a.l.Flags&paused != 0:
			d.cancelAccepts(a)
			continue
		case !a.polled:
			a.failed = errors.Join(a.failed, d.startAccepts(a))
		}
		if len(a.held) > 0 || a.failed != nil || a.ready || a.retry {
			a.changed = true
			kept = append(kept, a)
		}
	}
	clear(d.changed[len(kept):])
	d.changed = kept
}

// startAccepts starts an accept in each idle slot. It returns an error only if no accept is in
// flight and none can be started: as long as one is, connections are accepted.
func (d *Driver) startAccepts(a *acceptor) error {
	h := a.l.PollHandle()
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
	h := a.l.PollHandle()
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
	d.markChanged(a)
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

// reportListeners makes the upcalls of changed listeners.
func (d *Driver) reportListeners() {
	for i := range len(d.changed) { // the upcalls may append to d.changed
		a := d.changed[i]
		if a.polled {
			d.acceptPolled(a)
		}
		d.deliverAccepted(a)
		if err := a.failed; err != nil && a.l.Flags&(paused|unlisted) == 0 {
			a.failed = nil
			a.l.Flags |= paused
			a.l.Up.AcceptFailed(err)
		}
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
		l.AcceptOptions().Apply(fd)
		s.PollHandle().Init(fd, a.kind)
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
