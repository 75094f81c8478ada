// Package flight lets callers that ask the same question at the same time wait for one query. The
// query goes on while one of them waits; each of them can leave alone.
//
// Every waiter gets exactly one callback: with the result (Flight.Finish), with an error of its own
// (Waiter.Cancel), or with that of Group.Close. The goroutine that removes a waiter from its
// flight, with the mutex held, makes the callback, without it. So a callback may call any method,
// also of its own flight, and one that cancels another waiter of its flight wins over the result.
//
// A flight is in its Group's map exactly while it can be joined and finished.
package flight

import (
	"errors"
	"sync"
)

var (
	// ErrFull: the Group has as many flights or waiters as its limits permit.
	ErrFull = errors.New("too many queries are in flight: start fewer at a time, or raise the limit")
	// ErrNotStarted: the function that starts a query panicked or ended its goroutine.
	ErrNotStarted = errors.New("the query could not be started")
)

// Limits bound a Group. A limit of 0 or less admits nothing.
type Limits struct {
	Flights int // queries at a time
	Waiters int // of all flights together
}

// A Group has the queries that are in flight, by key. Its methods may be called from any goroutine.
// Use New.
type Group[K comparable, V any] struct {
	limits Limits

	mu      sync.Mutex // guards the flights and the waiters, too
	flights map[K]*Flight[K, V]
	waiters int   // in all flights
	closed  error // of Close
}

// New returns an empty Group.
func New[K comparable, V any](limits Limits) *Group[K, V] {
	return &Group[K, V]{limits: limits, flights: map[K]*Flight[K, V]{}}
}

// A Flight is one query.
type Flight[K comparable, V any] struct {
	group *Group[K, V]
	key   K

	// The following is guarded by group.mu.
	oldest, newest *Waiter[K, V] // in the order of Join
	ended          bool          // finished or abandoned; not in group.flights
	carrier        any           // of CarriedBy
	stop           func()        // stops the query, if it has been started and has not ended
	stopDue        bool          // it was abandoned before it had been started
}

// A Waiter is a caller of Join.
type Waiter[K comparable, V any] struct {
	flight *Flight[K, V]
	done   func(V, error)

	// The following is guarded by the group's mutex.
	waiting      bool // in the list of flight
	older, newer *Waiter[K, V]
}

// A Start begins a query without waiting for it. The query ends with a call of Finish, which Start
// may call itself. The function that Start returns stops the query; it may be nil.
//
// stop is called at most once, and only if all waiters have left or the Group is closed before
// Finish. It may overlap with a call of Finish, which has no effect then. It must not panic.
type Start[K comparable, V any] func(*Flight[K, V]) (stop func())

// Join adds a waiter to the flight of k. If there is no such flight, it makes one and calls start on
// this goroutine. done is called once, possibly before Join returns, unless Join returns an error:
// ErrFull, or the one given to Close.
func (g *Group[K, V]) Join(k K, done func(V, error), start Start[K, V]) (*Waiter[K, V], error) {
	w := &Waiter[K, V]{done: done}
	created, err := g.join(k, w)
	if err != nil {
		return nil, err
	}
	if created {
		w.flight.start(start)
	}
	return w, nil
}

// join adds w to a flight, and reports whether it has created that.
func (g *Group[K, V]) join(k K, w *Waiter[K, V]) (created bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.flights[k]
	switch created = f == nil; {
	case g.closed != nil:
		return false, g.closed
	case g.waiters >= g.limits.Waiters, created && len(g.flights) >= g.limits.Flights:
		return false, ErrFull
	case created:
		f = &Flight[K, V]{group: g, key: k}
		g.flights[k] = f
	}
	w.flight = f
	f.pushLocked(w)
	return created, nil
}

// CarriedBy records what carries the query, for FinishCarriedBy: a comparable value, not nil. Start calls it
// before anything can end the carrier.
func (f *Flight[K, V]) CarriedBy(carrier any) {
	f.group.mu.Lock()
	defer f.group.mu.Unlock()
	f.carrier = carrier
}

// FinishCarriedBy is Finish, with err, of all flights of a carrier that has ended, whose queries would never finish. It
// looks at every flight. stop is not called.
func (g *Group[K, V]) FinishCarriedBy(carrier any, err error) {
	var lost []*Flight[K, V]
	g.mu.Lock()
	for _, f := range g.flights {
		if f.carrier == carrier {
			lost = append(lost, f)
		}
	}
	g.mu.Unlock()
	var none V
	for _, f := range lost {
		f.Finish(none, err)
	}
}

// start starts the query. If that fails by a panic, the flight must not stay: it would never end.
func (f *Flight[K, V]) start(start Start[K, V]) {
	started := false
	defer func() {
		if !started {
			var none V
			f.Finish(none, ErrNotStarted)
		}
	}()
	stop := start(f)
	started = true
	if f.keepStop(stop) && stop != nil {
		stop()
	}
}

// keepStop keeps the function that stops the query, now that it has been started, and reports
// whether it must be called because the flight was abandoned meanwhile.
func (f *Flight[K, V]) keepStop(stop func()) (due bool) {
	f.group.mu.Lock()
	defer f.group.mu.Unlock()
	if !f.ended {
		f.stop = stop
	}
	return f.stopDue
}

// Finish ends the flight with a result. All its waiters get it, on this goroutine, in the order of
// Join. The first Finish of a flight has this effect, unless the flight has been abandoned; it
// returns true, others return false.
//
// If a callback panics, the others are called all the same, before the panic goes on.
func (f *Flight[K, V]) Finish(v V, err error) bool {
	f.group.mu.Lock()
	if f.ended {
		f.group.mu.Unlock()
		return false
	}
	f.endLocked()
	f.group.mu.Unlock()
	f.deliver(v, err)
	return true
}

// deliver calls the waiters of a flight that has ended.
func (f *Flight[K, V]) deliver(v V, err error) {
	for w := f.pop(); w != nil; w = f.pop() {
		w.deliver(v, err)
	}
}

// deliver calls the waiter, and the rest of its flight if it panics or ends the goroutine.
func (w *Waiter[K, V]) deliver(v V, err error) {
	returned := false
	defer func() {
		if !returned {
			w.flight.deliver(v, err)
		}
	}()
	w.done(v, err)
	returned = true
}

// Cancel makes the waiter leave: it calls its callback with err, on this goroutine, and returns
// true. If the callback has been made or is being made, it does nothing and returns false. When the
// last waiter leaves, the query is stopped, before the callback.
func (w *Waiter[K, V]) Cancel(err error) bool {
	f := w.flight
	f.group.mu.Lock()
	if !w.waiting {
		f.group.mu.Unlock()
		return false
	}
	f.removeLocked(w)
	var stop func()
	if f.oldest == nil && !f.ended {
		stop = f.abandonLocked()
	}
	f.group.mu.Unlock()
	if stop != nil {
		stop()
	}
	var none V
	w.done(none, err)
	return true
}

// Close stops all queries, calls all waiters with err, which must not be nil, and makes Join return
// err. Close has an effect once. If a callback panics, the others are called all the same.
func (g *Group[K, V]) Close(err error) {
	g.mu.Lock()
	if g.closed == nil {
		g.closed = err
	}
	g.mu.Unlock()
	g.abandonAll(err)
}

func (g *Group[K, V]) abandonAll(err error) {
	for f, stop := g.abandonOne(); f != nil; f, stop = g.abandonOne() {
		if stop != nil {
			stop()
		}
		f.fail(err)
	}
}

// fail calls the waiters of an abandoned flight and, if one panics, those of all other flights.
func (f *Flight[K, V]) fail(err error) {
	returned := false
	defer func() {
		if !returned {
			f.group.abandonAll(err)
		}
	}()
	var none V
	f.deliver(none, err)
	returned = true
}

// abandonOne ends any flight that has not ended.
func (g *Group[K, V]) abandonOne() (f *Flight[K, V], stop func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.flights {
		return f, f.abandonLocked()
	}
	return nil, nil
}

// abandonLocked ends a flight without a result, and returns the function to call without the mutex.
func (f *Flight[K, V]) abandonLocked() (stop func()) {
	f.stopDue = true // has an effect if start has not returned yet; otherwise stop is returned here
	return f.endLocked()
}

// endLocked ends a flight that has not ended: of its key there may be another one afterwards. It
// releases stop, which a caller who keeps a Waiter would keep otherwise.
func (f *Flight[K, V]) endLocked() (stop func()) {
	delete(f.group.flights, f.key)
	f.ended = true
	stop, f.stop = f.stop, nil
	return stop
}

// InFlight returns the number of flights that have not ended and the number of all waiters that have
// not got their callback.
func (g *Group[K, V]) InFlight() (flights, waiters int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.flights), g.waiters
}
