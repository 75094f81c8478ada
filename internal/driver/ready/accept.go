package ready

import (
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/sock"
)

// Flags of a listener.
const (
	paused   = driver.Paused
	listed   = driver.Listed
	unlisted = driver.Unlisted
)

// Listen implements driver.Driver.
func (d *Driver) Listen(l *driver.Listener) error {
	d.listeners.Add(l, &l.State)
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
		d.listeners.Remove(&l.State)
	}
	l.Flags = l.Flags&^listed | unlisted
	l.Spare = nil
	l.Close()
}

// accept accepts up to MaxAccepts connections from the backlog.
func (d *Driver) accept(l *driver.Listener) {
	for range driver.MaxAccepts {
		if l.Flags&(paused|unlisted) != 0 {
			return
		}
		if l.Spare == nil {
			l.Spare = l.Up.Incoming()
		}
		err := l.AcceptSpare()
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
