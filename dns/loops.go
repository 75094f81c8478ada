package dns

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pollux-io/pollux/internal/exchange"
	"github.com/pollux-io/pollux/loop"
)

// errLoopEnded is the error of a query whose loop has ended before the servers had answered.
var errLoopEnded = fmt.Errorf("the loop that carried the query has ended: %w", ErrClosed)

// exchanger returns that of a loop.
func (r *Resolver) exchanger(l *loop.Loop) (*exchange.Exchanger, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	x := r.exchangers[l]
	if x == nil {
		x = exchange.New(l, l.Group().Config().Network, r.config.limitsOf(len(l.Group().Loops())))
		r.exchangers[l] = x
		r.watchers.Go(func() { r.watch(l, x) })
	}
	return x, nil
}

// watch waits for the end of a loop. Then it closes the sockets, and ends the queries that the loop has carried, for
// which lookups on other loops may wait: nothing else would end those.
func (r *Resolver) watch(l *loop.Loop, x *exchange.Exchanger) {
	select {
	case <-r.closing:
		return
	case <-l.Done():
	}
	x.Close() // nothing else accesses it any more
	r.mu.Lock()
	delete(r.exchangers, l)
	r.gone.Add(x.Traffic())
	r.mu.Unlock()
	r.flights.FinishCarriedBy(l, errLoopEnded)
}

// closeOn closes an exchanger, by its loop: if that is about to end, when it has.
func closeOn(l *loop.Loop, x *exchange.Exchanger) {
	switch err := l.Run(x.Close); {
	case hasEnded(l): // before or after it has run the function
		x.Close()
	case errors.Is(err, loop.ErrClosed):
		go func() { <-l.Done(); x.Close() }()
	case err != nil: // the queue is full
		l.AfterFunc(0, x.Close)
	}
}

// nextLoop returns a loop for a lookup that waits.
func (r *Resolver) nextLoop() (*loop.Loop, error) {
	g := r.config.Group
	if g == nil {
		var err error
		if g, err = r.ownGroup(); err != nil {
			return nil, err
		}
	}
	return r.nextOf(g)
}

// nextOf returns a loop of g: they take turns, without those that have ended.
func (r *Resolver) nextOf(g *loop.Group) (*loop.Loop, error) {
	loops := g.Loops()
	first := int(r.turns.Add(1) % uint32(len(loops)))
	for i := range loops {
		if l := loops[(first+i)%len(loops)]; !hasEnded(l) {
			return l, nil
		}
	}
	return nil, fmt.Errorf("the loops of the group have ended: %w", ErrClosed)
}

func hasEnded(l *loop.Loop) bool {
	select {
	case <-l.Done():
		return true
	default:
		return false
	}
}

func (r *Resolver) ownGroup() (*loop.Group, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if r.own == nil {
		g, err := loop.NewGroup(loop.Config{Loops: 1})
		if err != nil {
			return nil, err
		}
		r.own = g
	}
	return r.own, nil
}

// onLoop reports whether the caller runs on a loop that the resolver uses: one for lookups that wait, or one that may
// carry a query for which they would wait.
func (r *Resolver) onLoop() bool {
	groups := make([]*loop.Group, 0, 4) // few, with many loops each
	add := func(g *loop.Group) {
		if g != nil && !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	add(r.config.Group)
	r.mu.Lock()
	add(r.own)
	for l := range r.exchangers {
		add(l.Group())
	}
	r.mu.Unlock()
	return slices.ContainsFunc(groups, (*loop.Group).OnLoop)
}

// runOn runs f on a loop, in a later turn. If the loop has ended, f is not run.
func runOn(l *loop.Loop, f func()) {
	if err := l.Run(f); err != nil && !errors.Is(err, loop.ErrClosed) {
		l.AfterFunc(0, f) // the queue is full
	}
}
