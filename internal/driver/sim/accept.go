package sim

import (
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// acceptor is the driver's state of a listener.
type acceptor struct {
	l    *driver.Listener
	kind handle.Kind // of the connections
	held []connection
}

// connection is one that was accepted and is not delivered yet.
type connection struct {
	fd   sys.FD
	from sys.Sockaddr
}

// Flags of a listener.
const (
	paused   = driver.Paused
	listed   = driver.Listed
	unlisted = driver.Unlisted
)

// Listen implements driver.Driver.
func (d *Driver) Listen(l *driver.Listener) error {
	a := &acceptor{l: l, kind: handle.TCPStream}
	if handle.Of(l).Kind() == handle.UnixListener {
		a.kind = handle.UnixStream
	}
	d.listeners.Add(a, &l.State)
	err := d.q.Register(handle.Of(l), driver.Token(kindListener, l.Generation, l.Index), selector.Readable, selector.Edge)
	if err != nil {
		d.listeners.Remove(&l.State)
		return err
	}
	l.Flags |= listed
	return nil
}

// Unlisten implements driver.Driver.
func (d *Driver) Unlisten(l *driver.Listener) {
	if l.Flags&listed != 0 {
		for _, c := range d.listeners.At(l.Index).held {
			driver.ResetConn(c.fd)
		}
		d.listeners.Remove(&l.State)
	}
	l.Flags = l.Flags&^listed | unlisted
	l.Spare = nil
	l.Close()
}

func (d *Driver) serveAccepting(l *driver.Listener) {
	if l.Flags&(listed|unlisted) == listed {
		d.accept(d.listeners.At(l.Index))
	}
}

// accept delivers up to MaxAccepts connections: those that are held, and then those in the backlog.
func (d *Driver) accept(a *acceptor) {
	l := a.l
	for range driver.MaxAccepts {
		if l.Flags&(paused|unlisted) != 0 {
			return
		}
		if l.Spare == nil {
			l.Spare = l.Up.Incoming()
		}
		err := d.acceptNext(a)
		if err == sock.ErrWouldBlock {
			return
		}
		if err != nil {
			l.Flags |= paused
			l.Up.AcceptFailed(err)
			return
		}
		s := l.Spare
		l.Spare = nil
		l.Up.Accepted(s)
	}
	d.AddAccepting(l)
}

// acceptNext accepts a connection into l.Spare, and sets l.Peer.
func (d *Driver) acceptNext(a *acceptor) error {
	if len(a.held) == 0 {
		return a.l.AcceptSpare()
	}
	c := a.held[0]
	a.held = a.held[1:]
	stream.AcceptOptionsOf(a.l).Apply(c.fd)
	handle.Of(a.l.Spare).Init(c.fd, a.kind)
	a.l.Peer = c.from.AddrPort()
	return nil
}

// acceptAhead accepts connections and holds them. An error is left to accept, which meets it again.
func (d *Driver) acceptAhead(a *acceptor) {
	if a.l.Flags&(paused|unlisted) != 0 {
		return
	}
	for len(a.held) < d.adversity.HeldAccepts {
		fd, from, err := stream.Accept(handle.Of(a.l))
		if err != nil {
			return
		}
		a.held = append(a.held, connection{fd, from})
	}
}
