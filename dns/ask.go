package dns

import (
	"errors"
	"strings"

	"github.com/pollux-io/pollux/internal/dnscache"
	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/exchange"
	"github.com/pollux-io/pollux/internal/flight"
	"github.com/pollux-io/pollux/loop"
)

// types returns the types of records to ask for.
func (v *view) types(t Type) []dnswire.Type {
	switch {
	case t != typeAddresses:
		return []dnswire.Type{dnswire.Type(t)}
	case v.Resolv.NoAAAA:
		return []dnswire.Type{dnswire.TypeA}
	}
	return []dnswire.Type{dnswire.TypeA, dnswire.TypeAAAA}
}

// ask asks for the current name.
func (lk *Lookup) ask() {
	lk.parts = lk.parts[:0]
	for _, t := range lk.view.types(lk.typ) {
		lk.parts = append(lk.parts, part{typ: t})
	}
	lk.open = len(lk.parts)
	for i := range lk.parts {
		if lk.done == nil || i > 0 && lk.oneByOne() {
			return
		}
		lk.askPart(i)
	}
}

// oneByOne reports whether a part is asked for only when the one before has its result.
func (lk *Lookup) oneByOne() bool {
	return lk.view.Resolv.SingleRequest || lk.view.Resolv.SingleRequestReopen
}

// askPart takes part i from the cache, or joins a query for it.
func (lk *Lookup) askPart(i int) {
	r, p, name := lk.r, &lk.parts[i], lk.choice.names[lk.at]
	p.key = dnscache.Key{Name: name.Fold().String(), Type: uint16(p.typ), Epoch: uint32(lk.view.Epoch)}
	if hit, ok := r.results.Get(r.now(), p.key); ok {
		cached := *hit.Value
		cached.ttl, cached.path, cached.steps = hit.TTL, PathCache, nil
		if hit.Stale {
			cached.path = PathStale
		}
		if !hit.Refresh {
			p.isOld = hit.Stale
			at := lk.at
			lk.run(func() { lk.partEnded(at, i, &cached, nil) })
			return
		}
		p.stale = &cached
	}
	lk.askServers(i)
}

// askServers joins or starts a query for part i.
func (lk *Lookup) askServers(i int) {
	p := &lk.parts[i]
	question := dnswire.Question{Name: lk.choice.names[lk.at], Type: p.typ}
	lk.join(i, p.key, lk.r.startEvented(lk.loop, p.key, question, &lk.view.policy))
}

// askPool joins or starts a lookup by the pool, which has both families in one part.
func (lk *Lookup) askPool() {
	lk.parts, lk.open = []part{{}}, 1
	key := dnscache.Key{Name: strings.ToLower(lk.name), Type: uint16(typeAddresses), Epoch: uint32(lk.view.Epoch)}
	lk.join(0, key, lk.r.startPool(lk.name))
}

// join joins or starts a query. Its callback may come from another loop.
func (lk *Lookup) join(i int, key dnscache.Key, start flight.Start[dnscache.Key, *result]) {
	at := lk.at
	ended := func(v *result, err error) { lk.run(func() { lk.partEnded(at, i, v, err) }) }
	joined := true
	w, err := lk.r.flights.Join(key, ended, func(f *flight.Flight[dnscache.Key, *result]) func() {
		joined = false
		return start(f)
	})
	if errors.Is(err, flight.ErrFull) {
		err = ErrBusy
	}
	if err != nil {
		ended(nil, err)
		return
	}
	if joined {
		lk.r.counts.shared.Add(1)
	}
	lk.parts[i].waiter, lk.parts[i].joined = w, joined
}

// startEvented starts a query on the loop l, on which it must be called.
func (r *Resolver) startEvented(l *loop.Loop, key dnscache.Key, question dnswire.Question, p *exchange.Policy) flight.Start[dnscache.Key, *result] {
	return func(f *flight.Flight[dnscache.Key, *result]) (stop func()) {
		x, err := r.exchanger(l)
		if err != nil {
			f.Finish(nil, err)
			return nil
		}
		f.CarriedBy(l)
		q := x.Ask(question, p, func(rep exchange.Reply) { f.Finish(r.keep(key, &rep), rep.Err) })
		return func() { runOn(l, q.Cancel) }
	}
}

// keep caches a reply.
func (r *Resolver) keep(key dnscache.Key, rep *exchange.Reply) *result {
	r.counts.attempts(rep.Steps)
	if rep.Err != nil {
		r.results.RefreshFailed(r.now(), key)
		return &result{steps: stepsOf(Type(key.Type), rep.Steps)}
	}
	w := &rep.Response
	res := &result{
		kind: w.Kind, records: w.Records, aliases: w.Aliases, canonical: w.Canonical, ttl: w.TTL,
		path: Path(rep.Path), steps: stepsOf(Type(key.Type), rep.Steps),
	}
	r.results.Put(r.now(), key, dnscache.Answer[*result]{
		Value: res, TTL: res.ttl, Negative: res.kind != dnswire.Positive, Size: resultBytes + recordBytes*len(res.records),
	})
	return res
}

// resultBytes and recordBytes are about what a result, and each of its records, takes.
const resultBytes, recordBytes = 200, 400
