package dns

import (
	"context"

	"github.com/pollux-io/pollux/internal/idn"
	"github.com/pollux-io/pollux/loop"
)

// lookup is a lookup that may wait. The answer of what is known inline is copied once only: it is on the path of
// every request of a program that does not keep addresses itself.
func (r *Resolver) lookup(ctx context.Context, name string, t Type) (a Answer, err error) {
	if ctx.Err() != nil {
		return a, r.failed(name, t, context.Cause(ctx))
	}
	if ok, err := r.inline(&a, name, t, counted); ok {
		return a, err
	}
	if !idn.IsASCII(name) {
		return r.lookupInternational(ctx, name, t)
	}
	return r.wait(ctx, name, t)
}

// failed counts a lookup that fails before a loop has it, and returns its error.
func (r *Resolver) failed(name string, t Type, err error) *Error {
	r.counts.failure(err)
	return &Error{Name: name, Type: t, Err: err}
}

// An outcome is how a lookup has ended.
type outcome struct {
	a   Answer
	err error
}

// wait looks up what is not known inline. If the loop of the lookup ends, which is permanent, it goes on with
// another one of the group: at most once for each loop.
func (r *Resolver) wait(ctx context.Context, name string, t Type) (Answer, error) {
	v := r.view(r.now())
	choice := r.choose(v, name, t)
	switch {
	case choice.err != nil:
		return Answer{}, r.failed(name, t, choice.err)
	case r.onLoop():
		return Answer{}, r.failed(name, t, loop.ErrOnLoop)
	}
	for {
		l, err := r.nextLoop()
		if err != nil {
			return Answer{}, r.failed(name, t, err)
		}
		outcomes := make(chan outcome, 1) // of the one call of done, which must not block
		lk := r.startLookup(&Lookup{
			loop: l, name: name, typ: t, view: v, choice: choice,
			done: func(a Answer, err error) { outcomes <- outcome{a, err} },
		})
		select {
		case o := <-outcomes:
			return o.a, o.err
		case <-ctx.Done():
			lk.Cancel()
			return Answer{}, &Error{Name: name, Type: t, Err: context.Cause(ctx)}
		case <-l.Done():
		}
		select { // done may have been called before the loop ended
		case o := <-outcomes:
			return o.a, o.err
		default:
		}
	}
}

// LookupInline returns the answer if it is known without asking a server: of an address, localhost, a live entry of the
// cache, or a name of the hosts file, if that precedes DNS; with the strategy Pool it does not. Otherwise the error wraps
// ErrNotInline. t is a type, or 0 for the addresses of both families. LookupInline never waits, and may be called in
// callbacks.
func (r *Resolver) LookupInline(name string, t Type) (a Answer, err error) {
	if ok, err := r.inline(&a, name, t, counted); ok {
		return a, err
	}
	if ascii := asciiOrGiven(name); ascii != name {
		a, err = r.LookupInline(ascii, t)
		return named(name, a, err)
	}
	if err = refuse(name, t); err == nil {
		err = ErrNotInline
	}
	return a, r.failed(name, t, err)
}
