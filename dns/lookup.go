package dns

import (
	"context"
	"net/netip"
	"time"

	"github.com/pollux-io/pollux/internal/dnscache"
	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/flight"
	"github.com/pollux-io/pollux/loop"
)

// A Lookup is a lookup in progress, of LookupFunc.
type Lookup struct {
	r     *Resolver
	loop  *loop.Loop
	name  string // in ASCII, unless it has no such form
	typ   Type
	early early
	// view and choice are set in advance by a lookup that waits: it is not known inline. Otherwise begin sets them.
	view   *view
	choice choice

	// Accessed on the loop only.
	done      func(Answer, error) // nil once the lookup has ended
	at        int                 // index of the current name of choice
	parts     []part              // of the current name: of each type
	open      int                 // parts without a result
	failed    error               // of an earlier name, other than not found
	absent    error               // of an earlier name: ErrNoData or ErrNoName
	absentTTL time.Duration       // the shortest TTL of all answers so far that there is no such name or record; -1: none
	steps     []Step
	timer     *loop.Timer // of early
}

// A part is the lookup of one type of one name.
type part struct {
	typ     dnswire.Type
	key     dnscache.Key
	waiter  *flight.Waiter[dnscache.Key, *result]
	joined  bool    // the query was started by another lookup
	retried bool    // and was lost with its loop, so that it was started again
	stale   *result // to use if the servers fail; not shared
	result  *result
	isOld   bool // result is stale
	err     error
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
//
// An international name is looked up in its ASCII form (IDNA, UTS 46 nontransitional, as browsers do), also in the hosts
// file; one without an ASCII form is pollux.ErrBadArgument.
//
// A panic of done is logged, as that of a function of loop.Loop.Run, and changes nothing for other lookups.
func (r *Resolver) LookupFunc(l *loop.Loop, name string, done func(Answer, error)) *Lookup {
	return r.lookupFunc(l, name, typeAddresses, done)
}

// LookupTypeFunc is LookupFunc for the records of one type. The name is looked up with the search list, as
// Lookup does; end it with a dot to avoid that.
func (r *Resolver) LookupTypeFunc(l *loop.Loop, name string, t Type, done func(Answer, error)) *Lookup {
	return r.lookupFunc(l, name, oneType(t), done)
}

// Lookup looks up the addresses of name, of both families, in the order in which to connect. When ctx ends, it
// returns soon, whatever the loops are doing; the query goes on while others wait for it. The error is an *Error.
//
// What is known inline, Lookup returns at once, without waiting, also in a callback. Otherwise it waits for a loop,
// and in a callback of a loop that the resolver uses the error wraps loop.ErrOnLoop: use LookupFunc there.
func (r *Resolver) Lookup(ctx context.Context, name string) (Answer, error) {
	return r.lookup(ctx, name, typeAddresses)
}

// LookupType is Lookup for the records of one type, as LookupTypeFunc.
func (r *Resolver) LookupType(ctx context.Context, name string, t Type) (Answer, error) {
	return r.lookup(ctx, name, oneType(t))
}

// oneType returns t or, instead of the one that stands for two, a type that no record has.
func oneType(t Type) Type {
	const invalid Type = 255
	if t == typeAddresses {
		return invalid
	}
	return t
}

func (r *Resolver) lookupFunc(l *loop.Loop, name string, t Type, done func(Answer, error)) *Lookup {
	if l == nil || done == nil {
		panic("dns: LookupFunc: the loop or the function is nil")
	}
	return r.startLookup(&Lookup{loop: l, name: name, typ: t, done: done})
}

func (r *Resolver) startLookup(lk *Lookup) *Lookup {
	lk.r = r
	lk.toASCII()
	lk.run(lk.begin)
	return lk
}

// Cancel ends the lookup: done gets an *Error that wraps context.Canceled, unless the lookup has ended. The
// query goes on if other lookups wait for it. Cancel may be called from any goroutine, and more than once.
func (lk *Lookup) Cancel() { lk.run(func() { lk.fail(context.Canceled) }) }

// run runs f on the loop, in a later turn.
func (lk *Lookup) run(f func()) { runOn(lk.loop, f) }

// begin decides where the answer comes from.
func (lk *Lookup) begin() {
	if lk.done == nil { // canceled
		return
	}
	if lk.view == nil {
		var a Answer
		if ok, err := lk.r.inline(&a, lk.name, lk.typ, counted); ok {
			lk.end(a, err)
			return
		}
		lk.view = lk.r.view(lk.r.now())
		lk.choice = lk.r.choose(lk.view, lk.name, lk.typ)
	}
	lk.absentTTL = -1
	switch lk.choice.path {
	case PathEvented:
		lk.ask()
	case PathPool:
		lk.askPool()
	default:
		lk.fail(lk.choice.err)
	}
}

// fail ends the lookup with an error, unless it has ended.
func (lk *Lookup) fail(err error) {
	if lk.done == nil {
		return
	}
	e := &Error{Name: lk.name, Type: lk.typ, Reason: lk.choice.poolReason(), Steps: lk.steps, Err: err}
	for i := range lk.parts {
		if res := lk.parts[i].result; e.Path == "" && res != nil {
			e.Path = res.path
		}
	}
	lk.r.counts.failure(err)
	lk.end(Answer{}, e)
}

// end calls done, once, and leaves the queries that the lookup waits for.
func (lk *Lookup) end(a Answer, err error) {
	done := lk.done
	lk.done = nil
	if lk.timer != nil {
		lk.timer.Stop()
	}
	for i := range lk.parts { // whose callbacks run in a later turn
		if w := lk.parts[i].waiter; w != nil {
			w.Cancel(context.Canceled)
		}
	}
	done(a, err)
}
