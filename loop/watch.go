package loop

import (
	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
)

// A Watch tells of the readiness of a foreign descriptor on a loop.
type Watch struct {
	l     *Loop
	w     driver.Watch
	ready func(pollux.Event)
	gone  bool // the loop's own
}

// Watch calls ready on the loop whenever src changes to ready, edge-triggered: read
// or write it then until sock.ErrWouldBlock. src is any source of package sock that
// is no stream of a loop's own: a descriptor of sock.FromFD, a pipe, a socket. It
// stays the caller's to close, after Stop.
//
// Watch must not be called on the loop itself, for it waits until src is watched; a
// callback uses Loop.WatchLater.
func (l *Loop) Watch(src pollux.Source, ready func(pollux.Event)) (*Watch, error) {
	errs := make(chan error, 1)
	w := l.WatchLater(src, ready, func(err error) { errs <- err })
	if err := l.g.await(errs); err != nil {
		return nil, err
	}
	return w, nil
}

// WatchLater is Watch without waiting: done is called on the loop, with the error if
// src cannot be watched.
func (l *Loop) WatchLater(src pollux.Source, ready func(pollux.Event), done func(error)) *Watch {
	w := &Watch{l: l, ready: ready}
	w.w = driver.Watch{Source: src, Up: (*watchUpcalls)(w)}
	l.Run(func() {
		err := l.drv.Watch(&w.w)
		w.gone = err != nil
		done(err)
	})
	return w
}

// Stop ends the watch: ready is not called any more once the loop has come to it, and
// done, unless it is nil, is called then, on the loop.
func (w *Watch) Stop(done func()) {
	w.l.Run(func() {
		if !w.gone {
			w.gone = true
			w.l.drv.Unwatch(&w.w)
		}
		if done != nil {
			done()
		}
	})
}

type watchUpcalls Watch

// Ready implements driver.WatchUpcalls.
func (u *watchUpcalls) Ready(ev pollux.Event) {
	w := (*Watch)(u)
	w.l.wakeUp()
	w.l.protect("a watch's function", func() { w.ready(ev) })
}
