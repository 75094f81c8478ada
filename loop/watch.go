package loop

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
)

// A Watch reports the readiness of a source on a loop.
type Watch struct {
	l     *Loop
	w     driver.Watch
	ready func(pollux.Event)
	gone  bool // accessed by the loop only

	canceled atomic.Bool // before begin
}

// Watch calls ready on the loop whenever src becomes ready for a direction of interest, which is
// one or more of pollux.Readable, pollux.Writable and pollux.Priority; errors and hang-ups are
// always reported. It is edge-triggered: ready must read or write until sock.ErrWouldBlock. src is
// any source of package sock that is not a loop's own stream: a descriptor of sock.FromFD, a pipe,
// a socket. The caller still owns it, and must close it after Stop.
//
// Watch waits until src is watched, so in a callback it returns ErrOnLoop: use Loop.WatchLater
// there. When ctx ends first, the watch is canceled, and the error is ctx's cause. Other errors are
// those of src (pollux.ErrRegistered, ErrOtherPoll, ErrSourceClosed, ErrNotPollable), ErrClosed,
// and ErrBadArgument: src or ready is nil, or the interest is empty or has unknown bits
// (pollux.ErrNoInterest). Leave out what is not needed: a socket is writable most of the time, so
// Writable causes calls.
func (l *Loop) Watch(ctx context.Context, src pollux.Source, interest pollux.Interest, ready func(pollux.Event)) (*Watch, error) {
	err := l.g.checkNotOnLoop()
	if err != nil {
		err = fmt.Errorf("%w, or use Loop.WatchLater", err)
	} else if ctx == nil {
		err = errNil("a context")
	} else if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("loop: watch: %w", err)
	}
	errs := make(chan error, 1)
	w := l.WatchLater(src, interest, ready, func(err error) { errs <- err })
	select {
	case err = <-errs:
	case <-ctx.Done():
		select {
		case err = <-errs: // both are ready
		default:
			w.canceled.Store(true)
			w.Stop(nil)
			err = fmt.Errorf("loop: watch: %w", context.Cause(ctx))
		}
	}
	if err != nil {
		return nil, err
	}
	return w, nil
}

// WatchLater is Watch without waiting: done, unless it is nil, is called once, with the error if
// src cannot be watched. It is called on the loop, except with ErrBadArgument and ErrClosed,
// before WatchLater returns. With an invalid argument and without done, WatchLater panics.
func (l *Loop) WatchLater(src pollux.Source, interest pollux.Interest, ready func(pollux.Event), done func(error)) *Watch {
	w := &Watch{l: l, ready: ready}
	w.w = driver.Watch{Source: src, Interest: selector.Interest(interest), Up: (*watchUpcalls)(w)}
	report := func(err error) {
		w.gone = w.gone || err != nil
		if done == nil {
			return
		}
		if err != nil {
			err = fmt.Errorf("loop: watch: %w", err)
		}
		done(err)
	}
	var misuse error
	switch {
	case handle.OfAny(src) == nil:
		misuse = errNil("a source")
	case !w.w.Interest.Valid():
		misuse = fmt.Errorf("%w, not %#x", pollux.ErrNoInterest, uint8(interest))
	case ready == nil:
		misuse = errNil("a function for the events")
	}
	switch {
	case misuse != nil && done == nil:
		panic("loop: WatchLater: " + misuse.Error())
	case misuse != nil:
		report(misuse)
	case !l.put(op{f: func() { w.begin(done, report) }}):
		report(l.endedError())
	}
	return w
}

func (w *Watch) begin(done func(error), report func(error)) {
	if w.canceled.Load() {
		w.gone = true
		return
	}
	err := w.l.g.checkNetwork(handle.Of(w.w.Source))
	if err == nil {
		err = w.l.drv.Watch(&w.w)
	}
	if done == nil {
		report(err)
		return
	}
	w.l.call(workWatch, done, func() { report(err) })
}

// Stop ends the watch: once the loop has processed it, ready is not called any more, and done,
// unless it is nil, is called, on the loop; if the loop has ended, done is called immediately.
// Stop may be called from any goroutine, and more than once.
func (w *Watch) Stop(done func()) {
	ended := w.l.putEnd(func() {
		if !w.gone {
			w.gone = true
			w.l.drv.Unwatch(&w.w)
		}
		if done != nil {
			w.l.call(workWatch, done, done)
		}
	})
	if !ended && done != nil { // the loop makes no more calls
		done()
	}
}

type watchUpcalls Watch

// Ready implements driver.WatchUpcalls.
func (u *watchUpcalls) Ready(f selector.Flags) {
	w := (*Watch)(u)
	w.l.wakeUp()
	w.l.call(workWatch, w.ready, func() { w.ready(eventOf(f)) })
}

func eventOf(f selector.Flags) pollux.Event {
	return pollux.NewEvent(0, pollux.EventState{
		Readable: f.Readable(), Writable: f.Writable(), Priority: f.Priority(),
		ReadClosed: f.ReadClosed(), WriteClosed: f.WriteClosed(), Failed: f.Failed(), Closed: f.Closed(),
	})
}
