package dns

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

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
// IPv6 addresses are tried as soon as they are known. IPv4 addresses that are known earlier wait for them, but not
// longer than ResolutionDelay. Addresses that arrive while attempts are in progress are tried as well.
//
// An attempt for which the process lacks a descriptor, or the group is at MaxConns, is made again after
// AttemptDelay while others are in progress.
type Dialer struct {
	Resolver *Resolver
	// Group has the loops of the connections that Dial makes. That of the resolver.
	Group *loop.Group
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

// Dial connects to address, of network "tcp", "tcp4" or "tcp6": a name or an IP address, which may have a zone, and a
// port: a number or the name of a service, such as "https". An empty host means "localhost", an unspecified IP address the
// loopback one of its family. Otherwise it is as loop.Group.Dial: accept is called once at most, for the connection
// that wins. Dial waits, so in a callback of a loop that the resolver uses, or of Group, it returns loop.ErrOnLoop: use
// DialFunc there.
//
// options apply to each attempt. With sock.LocalAddr only addresses of its family can be connected to: the others
// fail at once.
//
// The error is a *net.OpError: it wraps an *Error, an *AttemptsError, ctx's cause, loop.ErrOnLoop, ErrClosed if the loop
// has ended, or pollux.ErrBadArgument.
func (d *Dialer) Dial(ctx context.Context, network, address string, accept func(*loop.Conn) loop.Handler, options ...sock.Option) (*loop.Conn, error) {
	if d.Resolver == nil {
		return nil, dialError(network, fmt.Errorf("%w: Dialer.Resolver is nil", misuse.ErrBadArgument))
	}
	if d.Resolver.onLoop() || d.Group != nil && d.Group.OnLoop() {
		return nil, dialError(network, fmt.Errorf("%w, or use DialFunc", loop.ErrOnLoop))
	}
	l, err := d.nextLoop()
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

func (d *Dialer) nextLoop() (*loop.Loop, error) {
	if d.Group != nil {
		return d.Resolver.nextOf(d.Group)
	}
	return d.Resolver.nextLoop()
}

// DialFunc is Dial on the loop l, without waiting: done is called once, on the loop, with the connection or the
// error. If the connection opens, accept and the handler's Opened are called before. If DialFunc itself returns an
// error (an invalid argument, a context that has ended, or ErrClosed for a loop that has), nothing is called. If the loop
// ends later, while the name is looked up, done is not called.
func (d *Dialer) DialFunc(ctx context.Context, l *loop.Loop, network, address string, accept func(*loop.Conn) loop.Handler, done func(*loop.Conn, error), options ...sock.Option) error {
	r := &race{dialer: *d, loop: l, network: network, address: address, accept: accept, done: done, options: options}
	if err := d.check(r, ctx); err != nil {
		return &net.OpError{Op: "dial", Net: network, Addr: dialAddr{network, address}, Err: err}
	}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	stop := context.AfterFunc(ctx, func() { r.run(func() { r.canceled(context.Cause(ctx)) }) })
	r.run(func() {
		switch r.stop = stop; {
		case r.done == nil: // canceled
		case r.target.service != "":
			r.findPort()
		default:
			r.begin()
		}
	})
	return nil
}

// check validates the arguments of DialFunc and applies the defaults.
func (d *Dialer) check(r *race, ctx context.Context) (err error) {
	setDefault(&r.dialer.AttemptDelay, defaultAttemptDelay)
	setDefault(&r.dialer.ResolutionDelay, defaultResolutionDelay)
	for _, x := range []struct {
		missing bool
		what    string
	}{
		{d.Resolver == nil, "Dialer.Resolver"},
		{ctx == nil, "the context"},
		{r.loop == nil, "the loop"},
		{r.accept == nil, "the function accept"},
		{r.done == nil, "the function done"},
	} {
		if x.missing {
			return fmt.Errorf("%w: %s is nil", misuse.ErrBadArgument, x.what)
		}
	}
	switch {
	case r.network != "tcp" && r.network != "tcp4" && r.network != "tcp6":
		return fmt.Errorf("%w: the network must be tcp, tcp4 or tcp6", misuse.ErrBadArgument)
	case r.dialer.AttemptDelay < minAttemptDelay || r.dialer.AttemptDelay > maxAttemptDelay:
		return fmt.Errorf("%w: AttemptDelay must be from %v to %v", misuse.ErrBadArgument, minAttemptDelay, maxAttemptDelay)
	case r.dialer.ResolutionDelay < 0:
		return fmt.Errorf("%w: ResolutionDelay is negative", misuse.ErrBadArgument)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case hasEnded(r.loop):
		return ErrClosed
	}
	r.target, err = parseTarget(r.address)
	return err
}

func dialError(network string, err error) error {
	return &net.OpError{Op: "dial", Net: network, Err: err}
}
