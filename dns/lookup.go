package dns

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/pollux-io/pollux/internal/addrorder"
	"github.com/pollux-io/pollux/internal/dnscache"
	"github.com/pollux-io/pollux/internal/dnsconf"
	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/flight"
	"github.com/pollux-io/pollux/internal/misuse"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// A Lookup is a lookup in progress, of LookupFunc.
type Lookup struct {
	r    *Resolver
	loop *loop.Loop
	name string
	typ  Type
	snap *dnsconf.Snapshot
	// patience is how long addresses of one family wait for those of the other; 0: until the query ends.
	patience time.Duration

	// Accessed on the loop only.
	done   func(Answer, error) // nil once the lookup has ended
	names  []dnswire.Name      // to ask for, in order
	at     int                 // the current one
	parts  []part              // of the current name: of each type
	open   int                 // parts without a result; plus one while asking
	failed error               // of an earlier name, other than not found
	absent error               // of an earlier name: ErrNoData or ErrNoName
	steps  []Step
	timer  *loop.Timer // of patience
}

// A part is the lookup of one type of one name.
type part struct {
	typ    dnswire.Type
	key    dnscache.Key
	waiter *flight.Waiter[dnscache.Key, *result]
	stale  *result // to use if the servers fail
	result *result
	isOld  bool // result is stale
	err    error
}

// A result is what a server, or the pool, has answered. It is immutable.
type result struct {
	kind      dnswire.Kind
	records   []dnswire.Record
	aliases   int
	canonical dnswire.Name
	addrs     []netip.Addr // of the pool
	ttl       time.Duration
	path      Path
	steps     []Step
}

// LookupFunc looks up the addresses of name, of both families, and calls done on the loop l, once, in a later
// turn: with the answer, or an *Error. If the loop has ended before, done is not called. LookupFunc may be
// called from any goroutine, and does not block. It panics if l or done is nil.
func (r *Resolver) LookupFunc(l *loop.Loop, name string, done func(Answer, error)) *Lookup {
	return r.lookupFunc(l, name, typeAddresses, done)
}

// LookupTypeFunc is LookupFunc for the records of one type. The name is looked up with the search list, as
// Lookup does; end it with a dot to avoid that.
func (r *Resolver) LookupTypeFunc(l *loop.Loop, name string, t Type, done func(Answer, error)) *Lookup {
	if t == typeAddresses {
		t = invalidType
	}
	return r.lookupFunc(l, name, t, done)
}

// invalidType is a type that no record has, in place of one that must not be looked up.
const invalidType Type = 255

// Lookup looks up the addresses of name, of both families, in the order in which to connect. When ctx ends, it
// returns at once; the query goes on while others wait for it. The error is an *Error.
//
// Lookup waits for a loop: in a callback, use LookupFunc.
func (r *Resolver) Lookup(ctx context.Context, name string) (Answer, error) {
	return r.lookup(ctx, name, typeAddresses)
}

// LookupType is Lookup for the records of one type, as LookupTypeFunc.
func (r *Resolver) LookupType(ctx context.Context, name string, t Type) (Answer, error) {
	if t == typeAddresses {
		t = invalidType
	}
	return r.lookup(ctx, name, t)
}

func (r *Resolver) lookupFunc(l *loop.Loop, name string, t Type, done func(Answer, error)) *Lookup {
	if l == nil || done == nil {
		panic("dns: LookupFunc: the loop or the function is nil")
	}
	return r.startLookup(&Lookup{loop: l, name: name, typ: t, done: done})
}

func (r *Resolver) startLookup(lk *Lookup) *Lookup {
	lk.r = r
	lk.run(lk.begin)
	return lk
}

// aliveInterval is how often a lookup that waits checks that its loop has not ended.
const aliveInterval = time.Second

func (r *Resolver) lookup(ctx context.Context, name string, t Type) (Answer, error) {
	if ctx.Err() != nil {
		return Answer{}, &Error{Name: name, Type: t, Err: context.Cause(ctx)}
	}
	if a, ok := r.inline(name, t); ok {
		return a, nil
	}
	l, err := r.nextLoop()
	if err != nil {
		return Answer{}, &Error{Name: name, Type: t, Err: err}
	}
	type ended struct {
		a   Answer
		err error
	}
	results := make(chan ended, 1)
	lk := r.lookupFunc(l, name, t, func(a Answer, err error) { results <- ended{a, err} })
	alive := time.NewTicker(aliveInterval)
	defer alive.Stop()
	for {
		select {
		case e := <-results:
			return e.a, e.err
		case <-ctx.Done():
			lk.Cancel()
			return Answer{}, &Error{Name: name, Type: t, Err: context.Cause(ctx)}
		case <-alive.C:
			if errors.Is(l.Run(func() {}), loop.ErrClosed) {
				return Answer{}, &Error{Name: name, Type: t, Err: ErrClosed}
			}
		}
	}
}

// Cancel ends the lookup: done gets an *Error that wraps context.Canceled, unless the lookup has ended. The
// query goes on if other lookups wait for it. Cancel may be called from any goroutine, and more than once.
func (lk *Lookup) Cancel() { lk.run(func() { lk.fail(context.Canceled) }) }

// run runs f on the loop, in a later turn.
func (lk *Lookup) run(f func()) {
	if err := lk.loop.Run(f); err != nil && !errors.Is(err, loop.ErrClosed) {
		lk.loop.AfterFunc(0, f) // the queue is full
	}
}

// begin decides where the answer comes from.
func (lk *Lookup) begin() {
	if lk.done == nil { // canceled
		return
	}
	r := lk.r
	if a, ok := r.inline(lk.name, lk.typ); ok {
		lk.end(a, nil)
		return
	}
	lk.snap = r.source.Snapshot(r.now())
	if lk.typ == invalidType {
		lk.fail(misuse.ErrBadArgument)
		return
	}
	if wantsAddresses(lk.typ) && r.poolReason(lk.snap, lk.name) != "" {
		lk.names, lk.parts = []dnswire.Name{dnswire.Root}, []part{{}}
		lk.open = 1
		lk.join(0, dnscache.Key{Name: lk.name, Type: uint16(typeAddresses), Epoch: uint32(lk.snap.Epoch)}, r.startPool(lk.name))
		return
	}
	names, err := lk.snap.Resolv.Names(lk.name)
	switch {
	case !isASCII(lk.name):
		lk.fail(errNotASCII)
	case err != nil:
		lk.fail(err)
	case len(names) == 0:
		lk.fail(ErrNoName)
	default:
		lk.names = names
		lk.ask()
	}
}

// types returns the types of records to ask for.
func (lk *Lookup) types() []dnswire.Type {
	switch {
	case lk.typ != typeAddresses:
		return []dnswire.Type{dnswire.Type(lk.typ)}
	case lk.snap.Resolv.NoAAAA:
		return []dnswire.Type{dnswire.TypeA}
	}
	return []dnswire.Type{dnswire.TypeA, dnswire.TypeAAAA}
}

// ask asks for the current name.
func (lk *Lookup) ask() {
	lk.parts = lk.parts[:0]
	for _, t := range lk.types() {
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
	return lk.snap.Resolv.SingleRequest || lk.snap.Resolv.SingleRequestReopen
}

// askPart takes part i from the cache, or joins a query for it.
func (lk *Lookup) askPart(i int) {
	r, p, name := lk.r, &lk.parts[i], lk.names[lk.at]
	p.key = dnscache.Key{Name: name.String(), Type: uint16(p.typ), Epoch: uint32(lk.snap.Epoch)}
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
	lk.join(i, p.key, r.startEvented(lk.loop, p.key, dnswire.Question{Name: name, Type: p.typ}, r.policy(lk.snap)))
}

// join joins or starts a query. Its callback may come from another loop.
func (lk *Lookup) join(i int, key dnscache.Key, start flight.Start[dnscache.Key, *result]) {
	at := lk.at
	ended := func(v *result, err error) { lk.run(func() { lk.partEnded(at, i, v, err) }) }
	w, err := lk.r.flights.Join(key, ended, start)
	if errors.Is(err, flight.ErrFull) {
		err = ErrBusy
	}
	if err != nil {
		ended(nil, err)
		return
	}
	lk.parts[i].waiter = w
}

// startEvented starts a query on the loop l, on which it must be called.
func (r *Resolver) startEvented(l *loop.Loop, key dnscache.Key, question dnswire.Question, p *policy) flight.Start[dnscache.Key, *result] {
	return func(f *flight.Flight[dnscache.Key, *result]) (stop func()) {
		x, err := r.exchanger(l)
		if err != nil {
			f.Finish(nil, err)
			return nil
		}
		q := x.ask(question, p, func(rep reply) { f.Finish(r.keep(key, &rep), rep.err) })
		return func() {
			if l.Run(q.cancel) != nil {
				l.AfterFunc(0, q.cancel)
			}
		}
	}
}

// keep caches a reply.
func (r *Resolver) keep(key dnscache.Key, rep *reply) *result {
	if rep.err != nil {
		r.results.RefreshFailed(r.now(), key)
		return &result{steps: rep.steps}
	}
	w := &rep.response
	res := &result{
		kind: w.Kind, records: w.Records, aliases: w.Aliases, canonical: w.Canonical, ttl: w.TTL,
		path: pathOf(rep), steps: rep.steps,
	}
	r.results.Put(r.now(), key, dnscache.Answer[*result]{
		Value: res, TTL: res.ttl, Negative: res.kind != dnswire.Positive, Size: resultBytes + recordBytes*len(res.records),
	})
	return res
}

// resultBytes and recordBytes are about what a result, and each of its records, takes.
const resultBytes, recordBytes = 200, 400

// partEnded is called with the result of a part of the name with index at.
func (lk *Lookup) partEnded(at, i int, v *result, err error) {
	if lk.done == nil || at != lk.at {
		return
	}
	p := &lk.parts[i]
	p.waiter = nil
	if err != nil && p.stale != nil {
		v, err, p.isOld = p.stale, nil, true
	}
	p.result, p.err = v, err
	lk.open--
	switch {
	case lk.open == 0:
		lk.conclude()
	case lk.oneByOne():
		lk.askPart(i + 1)
	case lk.patience > 0 && err == nil && v.kind == dnswire.Positive:
		lk.timer = lk.loop.AfterFunc(lk.patience, func() {
			if lk.done != nil && at == lk.at {
				lk.conclude()
			}
		})
	}
}

// conclude ends the lookup with the parts of the current name, or goes on with the next name.
func (lk *Lookup) conclude() {
	positive, err, steps := false, error(nil), []Step(nil)
	for i := range lk.parts {
		p := &lk.parts[i]
		if p.result != nil {
			steps = append(steps, p.result.steps...)
		}
		switch {
		case p.err != nil:
			err = p.err
		case p.result == nil: // the patience has ended
		case len(p.result.addrs) > 0, !p.result.path.isPool() && p.result.kind == dnswire.Positive:
			positive = true
		}
	}
	if positive { // one family is enough
		lk.succeed(steps)
		return
	}
	lk.noteFailure(err, steps)
	// Each name of the search list would cost another timeout; and with a closed resolver all fail.
	if _, answered := errors.AsType[*rcodeError](err); lk.at+1 < len(lk.names) && (err == nil || answered) {
		lk.at++
		lk.ask()
		return
	}
	switch {
	case lk.failed != nil:
		lk.fail(lk.failed)
	default:
		lk.fail(lk.absent)
	}
}

// noteFailure notes why the current name has no answer.
func (lk *Lookup) noteFailure(err error, steps []Step) {
	if err != nil {
		lk.failed, lk.steps = err, steps
		return
	}
	if lk.absent == nil || lk.absent == ErrNoName { // a name that exists is the better explanation
		lk.absent = ErrNoData
		if lk.parts[0].result.kind == dnswire.NXDomain {
			lk.absent = ErrNoName
		}
	}
}

// succeed ends the lookup with the answer of the current name.
func (lk *Lookup) succeed(steps []Step) {
	a := Answer{Name: lk.name, Canonical: lk.name, Type: lk.typ, Steps: steps}
	complete, negative := true, time.Duration(-1)
	for i := range lk.parts {
		p := &lk.parts[i]
		if p.result == nil || p.err != nil {
			complete = false
			continue
		}
		if p.result.kind != dnswire.Positive {
			negative = p.result.ttl
			continue
		}
		lk.add(&a, p)
	}
	if negative >= 0 {
		a.TTL = min(a.TTL, negative)
	}
	if wantsAddresses(lk.typ) && len(a.Addrs) == 0 { // the pool has found those of the other family
		lk.fail(ErrNoData)
		return
	}
	a.Addrs = lk.sorted(a.Addrs)
	if lk.typ == typeAddresses && complete && !a.Stale && !a.Path.isPool() {
		kept := a
		lk.r.answers.Put(lk.r.now(), dnscache.Key{Name: lk.name, Epoch: uint32(lk.snap.Epoch)}, dnscache.Answer[*Answer]{
			Value: &kept, TTL: a.TTL, Size: resultBytes + recordBytes*len(a.Records),
		})
	}
	lk.end(a, nil)
}

// add adds the records of a part to the answer.
func (lk *Lookup) add(a *Answer, p *part) {
	res := p.result
	if a.Path == "" {
		a.Path, a.TTL = res.path, res.ttl
		if res.canonical != "" {
			a.Canonical = res.canonical.String()
		}
		for i := range res.records[:res.aliases] {
			a.Records = append(a.Records, recordOf(&res.records[i]))
		}
	}
	a.TTL = min(a.TTL, res.ttl)
	a.Stale = a.Stale || p.isOld
	for i := range res.records[res.aliases:] {
		rec := &res.records[res.aliases+i]
		a.Records = append(a.Records, recordOf(rec))
		if rec.Addr.IsValid() {
			a.Addrs = append(a.Addrs, rec.Addr)
		}
	}
	for _, addr := range res.addrs {
		addr = addr.Unmap()
		if lk.typ == typeAddresses || lk.typ == TypeA == addr.Is4() {
			a.Addrs = append(a.Addrs, addr)
		}
	}
}

// sorted returns addresses in the order of RFC 6724. Connecting a UDP socket, which sends nothing, finds the
// source address. More than maxSorted are not sorted: each costs a socket.
func (lk *Lookup) sorted(addrs []netip.Addr) []netip.Addr {
	const maxSorted = 32
	if lk.typ != typeAddresses || len(addrs) > maxSorted {
		return addrs
	}
	addrorder.Sort(addrs, func(dst netip.Addr) netip.Addr {
		const discard = 9
		u, err := sock.ConnectUDP(netip.AddrPortFrom(dst, discard), sock.OnNetwork(lk.loop.Group().Config().Network))
		if err != nil {
			return netip.Addr{}
		}
		defer u.Close()
		return u.LocalAddr().Addr()
	})
	return addrs
}

// fail ends the lookup with an error.
func (lk *Lookup) fail(err error) {
	e := &Error{Name: lk.name, Type: lk.typ, Steps: lk.steps, Err: err}
	for i := range lk.parts {
		if res := lk.parts[i].result; e.Path == "" && res != nil {
			e.Path = res.path
		}
	}
	lk.end(Answer{}, e)
}

// end calls done, once, and leaves the queries that the lookup waits for.
func (lk *Lookup) end(a Answer, err error) {
	done := lk.done
	if done == nil {
		return
	}
	lk.done = nil
	if lk.timer != nil {
		lk.timer.Stop()
	}
	for _, p := range slices.Clone(lk.parts) {
		if p.waiter != nil {
			p.waiter.Cancel(context.Canceled)
		}
	}
	done(a, err)
}
