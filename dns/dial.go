package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/addrorder"
	"github.com/pollux-io/pollux/internal/misuse"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Times and limits of Happy Eyeballs (RFC 8305, section 8).
const (
	defaultResolutionDelay                                = 50 * time.Millisecond
	defaultAttemptDelay, minAttemptDelay, maxAttemptDelay = 250 * time.Millisecond, 10 * time.Millisecond, 2 * time.Second
	// maxDialed is how many addresses of a name are tried.
	maxDialed = 32
)

// A Dialer connects to names by Happy Eyeballs (RFC 8305): the families take turns, the next address is
// tried when the one before has failed or has taken AttemptDelay, and the first connection that opens
// wins. The others are canceled.
//
// When the addresses of one family are there, those of the other have ResolutionDelay to follow.
type Dialer struct {
	Resolver *Resolver
	// AttemptDelay is from 10 ms to 2 s. 250 ms.
	AttemptDelay time.Duration
	// ResolutionDelay is at least 1 ns. 50 ms.
	ResolutionDelay time.Duration
}

// An AttemptsError reports that no address of a name could be connected to.
type AttemptsError struct {
	Name string
	Errs []error // of each address, in the order of the attempts: *net.OpErrors
}

// Error returns the errors of all attempts.
func (e *AttemptsError) Error() string {
	texts := make([]string, len(e.Errs))
	for i, err := range e.Errs {
		texts[i] = err.Error()
	}
	return fmt.Sprintf("all %d addresses of %s failed: %s", len(e.Errs), e.Name, strings.Join(texts, "; "))
}

func (e *AttemptsError) Unwrap() []error { return e.Errs }

// Dial connects to address, of network "tcp", "tcp4" or "tcp6": a name or an IP address, and the number of a
// port. Otherwise it is as loop.Group.Dial: accept is called once at most, for the connection that wins. Dial
// waits, so in a callback of a loop that the resolver uses it returns loop.ErrOnLoop: use DialFunc there.
//
// The error is a *net.OpError: it wraps an *Error, an *AttemptsError, ctx's cause, loop.ErrOnLoop, ErrClosed if the loop
// has ended, or pollux.ErrBadArgument.
func (d *Dialer) Dial(ctx context.Context, network, address string, accept func(*loop.Conn) loop.Handler, options ...sock.Option) (*loop.Conn, error) {
	if d.Resolver == nil {
		return nil, dialError(network, fmt.Errorf("%w: Resolver is nil", misuse.ErrBadArgument))
	}
	if d.Resolver.onLoop() {
		return nil, dialError(network, fmt.Errorf("%w, or use DialFunc", loop.ErrOnLoop))
	}
	l, err := d.Resolver.nextLoop()
	if err != nil {
		return nil, dialError(network, err)
	}
	type result struct {
		c   *loop.Conn
		err error
	}
	var decided atomic.Bool // the result is in the channel, or the caller has left
	results := make(chan result, 1)
	err = d.DialFunc(ctx, l, network, address, accept, func(c *loop.Conn, err error) {
		switch {
		case decided.CompareAndSwap(false, true):
			results <- result{c, err}
		case c != nil:
			c.Abort()
		}
	}, options...)
	if err != nil {
		return nil, err
	}
	var cause error
	select {
	case r := <-results:
		return r.c, r.err
	case <-ctx.Done():
		cause = context.Cause(ctx)
	case <-l.Done():
		cause = ErrClosed
	}
	if decided.CompareAndSwap(false, true) {
		return nil, dialError(network, cause)
	}
	r := <-results // done is being called
	return r.c, r.err
}

// DialFunc is Dial on the loop l, without waiting: done is called once, on the loop, with the connection or the
// error. If the connection opens, accept and the handler's Opened are called before. If DialFunc itself returns an
// error (an invalid argument, or a context that has ended), nothing is called.
func (d *Dialer) DialFunc(ctx context.Context, l *loop.Loop, network, address string, accept func(*loop.Conn) loop.Handler, done func(*loop.Conn, error), options ...sock.Option) error {
	r := &race{dialer: *d, loop: l, network: network, accept: accept, done: done, options: options}
	host, port, err := d.check(r, ctx, address)
	if err != nil {
		return dialError(network, err)
	}
	if host == "" {
		host = "localhost" // as package net
	}
	r.name, r.port = host, port
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	stop := context.AfterFunc(ctx, func() { r.run(func() { r.end(nil, dialError(network, context.Cause(ctx))) }) })
	r.run(func() {
		r.stop = stop
		if r.done != nil {
			r.lookup = d.Resolver.startLookup(&Lookup{loop: l, name: host, done: r.resolved, patience: r.dialer.ResolutionDelay})
		}
	})
	return nil
}

// check validates the arguments of DialFunc and applies the defaults.
func (d *Dialer) check(r *race, ctx context.Context, address string) (host string, port uint16, err error) {
	setDefault(&r.dialer.AttemptDelay, defaultAttemptDelay)
	setDefault(&r.dialer.ResolutionDelay, defaultResolutionDelay)
	switch {
	case d.Resolver == nil, ctx == nil, r.loop == nil, r.accept == nil, r.done == nil:
		return "", 0, fmt.Errorf("%w: the resolver, the context, the loop or a function is nil", misuse.ErrBadArgument)
	case r.network != "tcp" && r.network != "tcp4" && r.network != "tcp6":
		return "", 0, fmt.Errorf("%w: the network must be tcp, tcp4 or tcp6", misuse.ErrBadArgument)
	case r.dialer.AttemptDelay < minAttemptDelay || r.dialer.AttemptDelay > maxAttemptDelay:
		return "", 0, fmt.Errorf("%w: AttemptDelay must be from %v to %v", misuse.ErrBadArgument, minAttemptDelay, maxAttemptDelay)
	case r.dialer.ResolutionDelay < 0:
		return "", 0, fmt.Errorf("%w: ResolutionDelay is negative", misuse.ErrBadArgument)
	case ctx.Err() != nil:
		return "", 0, context.Cause(ctx)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", misuse.ErrBadArgument, err)
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%w: port %q is not a number from 0 to 65535", misuse.ErrBadArgument, service)
	}
	return host, uint16(n), nil
}

func dialError(network string, err error) error {
	return &net.OpError{Op: "dial", Net: network, Err: err}
}

// A race is a dial in progress. It is accessed on its loop only, except for what DialFunc sets before.
type race struct {
	dialer  Dialer
	loop    *loop.Loop
	network string
	name    string
	port    uint16
	accept  func(*loop.Conn) loop.Handler
	options []sock.Option
	ctx     context.Context // of all attempts
	cancel  context.CancelCauseFunc
	stop    func() bool // stops the watch on the caller's context

	done    func(*loop.Conn, error) // nil once the race has ended
	lookup  *Lookup
	addrs   []netip.Addr // not tried yet
	running int          // attempts
	decided bool         // a connection has opened: its attempt decides the race
	errs    []error
	timer   *loop.Timer // for the next attempt
}

func (r *race) run(f func()) { runOn(r.loop, f) }

// resolved is called with the result of the lookup.
func (r *race) resolved(a Answer, err error) {
	if r.done == nil {
		return
	}
	for _, addr := range a.Addrs {
		if r.network == "tcp" || (r.network == "tcp4") == addr.Unmap().Is4() {
			r.addrs = append(r.addrs, addr)
		}
	}
	if err == nil && len(r.addrs) == 0 {
		err = &Error{Name: r.name, Path: a.Path, Err: fmt.Errorf("no address is of network %s: %w", r.network, ErrNoData)}
	}
	if err != nil {
		r.end(nil, dialError(r.network, err))
		return
	}
	r.addrs = addrorder.Interleave(r.addrs, 1)
	r.addrs = r.addrs[:min(len(r.addrs), maxDialed)]
	r.next()
}

// next begins the next attempt: when the one before has failed, or has taken too long.
func (r *race) next() {
	if r.done == nil || r.decided {
		return
	}
	for len(r.addrs) > 0 {
		addr := netip.AddrPortFrom(r.addrs[0], r.port)
		r.addrs = r.addrs[1:]
		a := &attempt{race: r}
		if err := r.loop.Dial(r.ctx, "tcp", addr.String(), a.opened, a.ended, r.options...); err != nil {
			r.errs = append(r.errs, err)
			continue
		}
		r.running++
		if r.timer != nil {
			r.timer.Stop()
		}
		r.timer = r.loop.AfterFunc(r.dialer.AttemptDelay, r.next)
		return
	}
	switch {
	case r.running > 0:
	case len(r.errs) == 1:
		r.end(nil, r.errs[0])
	default:
		r.end(nil, dialError(r.network, &AttemptsError{r.name, r.errs}))
	}
}

// An attempt is one connection of a race.
type attempt struct {
	race *race
	won  bool
}

// opened is the accept function: the first connection to open wins.
func (a *attempt) opened(c *loop.Conn) loop.Handler {
	r := a.race
	if r.done == nil || r.decided {
		return nil
	}
	a.won, r.decided = true, true
	return r.accept(c)
}

// ended is called when the attempt has opened its connection, or has failed.
func (a *attempt) ended(c *loop.Conn, err error) {
	r := a.race
	r.running--
	switch {
	case a.won && r.done != nil:
		r.end(c, err)
	case a.won && err == nil:
		c.Abort() // the race was canceled after opened
	case !r.decided && r.done != nil:
		r.errs = append(r.errs, err)
		r.next()
	}
}

// end calls done, and cancels the attempts that go on.
func (r *race) end(c *loop.Conn, err error) {
	done := r.done
	if done == nil {
		return
	}
	r.done = nil
	if r.stop != nil { // else the context has ended at once
		r.stop()
	}
	if r.timer != nil {
		r.timer.Stop()
	}
	if r.lookup != nil {
		r.lookup.Cancel()
	}
	r.cancel(context.Canceled)
	done(c, err)
}
