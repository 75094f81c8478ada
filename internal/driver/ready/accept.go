package ready

import (
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/sock"
)

// Listen implements driver.Driver.
func (d *Driver) Listen(l *driver.Listener) error {
	d.listeners.Add(l, &l.State)
	err := d.q.Register(l.PollHandle(), driver.Token(kindListener, l.Generation, l.Index), selector.Readable, selector.Edge)
	if err != nil {
		d.listeners.Remove(&l.State)
		return err
	}
	l.Flags |= listed
	return nil
}

// PauseAccept implements driver.Driver.
func (d *Driver) PauseAccept(l *driver.Listener) { l.Flags |= paused }

// ResumeAccept implements driver.Driver. It accepts without waiting for an event, because those
// of connections that arrived meanwhile are not reported again.
func (d *Driver) ResumeAccept(l *driver.Listener) {
	if l.Flags&paused != 0 {
		l.Flags &^= paused
		d.addAccepting(l)
	}
}

// Unlisten implements driver.Driver.
func (d *Driver) Unlisten(l *driver.Listener) {
	if l.Flags&listed != 0 {
		d.listeners.Remove(&l.State)
	}
	l.Flags = l.Flags&queued | paused // it may still be in accepting
	l.Spare = nil
	l.Close()
}

// accept accepts up to maxAccepts connections from the backlog.
func (d *Driver) accept(l *driver.Listener) {
	for range maxAccepts {
		if l.Flags&paused != 0 {
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
	d.addAccepting(l)
}

func (d *Driver) addAccepting(l *driver.Listener) {
	if l.Flags&queued == 0 {
		l.Flags |= queued
		d.accepting = append(d.accepting, l)
	}
}

// Watch implements driver.Driver.
func (d *Driver) Watch(w *driver.Watch) error {
	d.watches.Add(w, &w.State)
	err := d.q.Register(handle.Of(w.Source), driver.Token(kindWatch, w.Generation, w.Index), selector.Readable|selector.Writable|selector.Priority, selector.Edge)
	if err != nil {
		d.watches.Remove(&w.State)
	}
	return err
}

// Unwatch implements driver.Driver.
func (d *Driver) Unwatch(w *driver.Watch) {
	d.watches.Remove(&w.State)
	d.q.Deregister(handle.Of(w.Source)) // fails for a closed source, whose registration has ended
}
