package uring

import (
	"fmt"
	"net"
	"syscall"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// acceptor is the driver's state of a listener. A multishot accept takes all connections in
// the backlog, so at PauseAccept it may have taken more than were wanted; these stay in taken.
type acceptor struct {
	l     *driver.Listener
	fd    sys.FD // in use (Handle.Use), as a stream's
	kind  handle.Kind
	taken []sys.FD // accepted connections to deliver
	turn  uint32   // the turn that count is for
	count int      // connections delivered in that turn

	armed, cancelling bool
}

// Flags of a listener.
const (
	paused   = driver.Paused
	listed   = driver.Listed
	unlisted = driver.Unlisted
)

// Listen implements driver.Driver.
func (d *Driver) Listen(l *driver.Listener) error {
	h := l.PollHandle()
	a := &acceptor{l: l}
	switch h.Kind() {
	case handle.TCPListener:
		a.kind = handle.TCPStream
	case handle.UnixListener:
		a.kind = handle.UnixStream
	default:
		return fmt.Errorf("uring: listening: a %v is not a listener of streams", h.Kind())
	}
	var err error
	if a.fd, err = d.own("listening", h); err != nil {
		return err
	}
	if a.kind == handle.TCPStream {
		// Accepted connections inherit the options, which saves a call for each. tcp(7) does not
		// document that; it was tested.
		l.AcceptOptions().Apply(a.fd)
	}
	d.listeners.Add(a, &l.State)
	l.Flags |= listed
	return nil
}

// own registers a socket that the ring serves, with the same owner as a watched source, though
// it is not in the epoll set. So no other queue can register it before it is closed. It also
// marks the descriptor as in use (Handle.Use).
func (d *Driver) own(doing string, h *handle.Handle) (sys.FD, error) {
	fd, r, err := h.Lock()
	if err != nil {
		return fd, fmt.Errorf("uring: %s: %w", doing, pollux.ErrSourceClosed)
	}
	defer h.Unlock()
	if err := r.CheckFree(&d.watches); err != nil {
		return fd, fmt.Errorf("uring: %s: %w", doing, err)
	}
	h.Use() // cannot fail: the handle is locked and open
	h.Set(handle.Registration{Owner: &d.watches})
	return fd, nil
}

// acceptorOf returns the listener's acceptor, or nil if it does not accept.
func (d *Driver) acceptorOf(l *driver.Listener) *acceptor {
	if l.Flags&(listed|unlisted) != listed {
		return nil
	}
	return d.listeners.At(l.Index)
}

// PauseAccept implements driver.Driver.
func (d *Driver) PauseAccept(l *driver.Listener) {
	l.Flags |= paused
}

// ResumeAccept implements driver.Driver.
func (d *Driver) ResumeAccept(l *driver.Listener) {
	if l.Flags&paused == 0 {
		return
	}
	l.Flags &^= paused
	if a := d.acceptorOf(l); a != nil && len(a.taken) > 0 {
		d.AddAccepting(l)
	}
}

// Unlisten implements driver.Driver.
func (d *Driver) Unlisten(l *driver.Listener) {
	a := d.acceptorOf(l)
	l.Flags |= unlisted
	l.Close() // takes effect after the last operation
	if a == nil {
		return
	}
	for _, fd := range a.taken {
		driver.ResetConn(fd)
	}
	a.taken = nil
	d.finishListenerIfIdle(a)
}

// finishListenerIfIdle frees a listener's descriptor and index if it has no accept in flight.
func (d *Driver) finishListenerIfIdle(a *acceptor) {
	// An upcall of the last completion may already have called this function.
	if !a.armed && a.l.Flags&listed != 0 {
		a.l.Flags &^= listed
		a.l.PollHandle().Done()
		d.listeners.Remove(&a.l.State)
	}
}

// applyAccepting starts and cancels accepts as requested since the last turn.
func (d *Driver) applyAccepting() {
	for i, a := range d.listeners.All() {
		want := a.l.Flags&(paused|unlisted) == 0 && len(a.taken) == 0
		switch {
		case want && !a.armed:
			a.armed = true
			d.begin(opAccept, uint32(i)).SetAccept(a.fd)
		case !want && a.armed && !a.cancelling:
			a.cancelling = true
			d.cancel(opAccept, uint32(i))
		}
	}
}

// accepted handles a completion of an accept.
func (d *Driver) accepted(index uint32, res int32, last bool) {
	a := d.listeners.At(index)
	if last {
		a.armed, a.cancelling = false, false
	}
	l := a.l
	switch {
	case res >= 0 && l.Flags&unlisted != 0:
		driver.ResetConn(sys.FD(res))
	case res >= 0 && (l.Flags&paused != 0 || len(a.taken) > 0 || !a.withinBudget(d.turn)):
		a.taken = append(a.taken, sys.FD(res))
		if l.Flags&paused == 0 {
			d.AddAccepting(l)
		}
	case res >= 0:
		d.deliverConn(a, sys.FD(res))
	case l.Flags&(paused|unlisted) != 0 || isTransient(syscall.Errno(-res)) || sys.LostInBacklog(syscall.Errno(-res)):
	default:
		l.Flags |= paused
		l.Up.AcceptFailed(failure("accept", "accept", l.PollHandle(), a.addr(), nil, syscall.Errno(-res)))
	}
	if last && l.Flags&unlisted != 0 {
		d.finishListenerIfIdle(a)
	}
}

// addr returns the listener's address, for errors.
func (a *acceptor) addr() net.Addr {
	at, e := sys.LocalAddr(a.fd)
	switch {
	case e != 0:
		return nil
	case a.kind == handle.TCPStream:
		return net.TCPAddrFromAddrPort(at.AddrPort())
	}
	return &net.UnixAddr{Name: at.Unix(), Net: "unix"}
}

// withinBudget reports whether the listener may deliver another connection in this turn.
func (a *acceptor) withinBudget(turn uint32) bool {
	if a.turn != turn {
		a.turn, a.count = turn, 0
	}
	return a.count < driver.MaxAccepts
}

func (d *Driver) deliverConn(a *acceptor, fd sys.FD) {
	a.count++
	if a.kind == handle.UnixStream {
		a.l.AcceptOptions().Apply(fd)
	}
	s := a.l.Up.Incoming()
	s.PollHandle().Init(fd, a.kind)
	a.l.Up.Accepted(s)
}

// serveAccepting delivers the connections that a listener in Accepting has taken, up to its budget.
func (d *Driver) serveAccepting(l *driver.Listener) {
	a := d.acceptorOf(l)
	if a == nil {
		return
	}
	for len(a.taken) > 0 && l.Flags&(paused|unlisted) == 0 && a.withinBudget(d.turn) {
		fd := a.taken[0]
		a.taken = a.taken[1:]
		d.deliverConn(a, fd)
	}
	if len(a.taken) == 0 {
		a.taken = nil
	} else if l.Flags&paused == 0 {
		d.AddAccepting(l)
	}
}
