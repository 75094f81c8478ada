package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pollux-io/pollux/internal/addrorder"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// A race is a dial in progress. It is accessed on its loop only, except for what DialFunc sets before.
//
// At most one attempt begins at a time, and the timer is that of the latest one: the next attempt begins when the
// latest has failed, or when the timer fires. Addresses may arrive twice, as the lookup reports the first family
// early; the second call has those of both.
type race struct {
	dialer  Dialer
	loop    *loop.Loop
	network string
	address string // as given
	target  target
	accept  func(*loop.Conn) loop.Handler
	options []sock.Option
	ctx     context.Context // of all attempts
	cancel  context.CancelCauseFunc
	stop    func() bool // stops the watch on the caller's context

	done      func(*loop.Conn, error) // nil once the race has ended
	lookup    *Lookup                 // nil for a literal
	resolving bool                    // more addresses may arrive
	untried   []netip.Addr            // in the order in which to try them
	tried     []netip.Addr            // at most maxDialed
	running   int                     // attempts
	latest    *attempt
	decided   bool        // a connection has opened: its attempt decides the race
	errs      []error     // of the attempts, in their order; nil: running
	timer     *loop.Timer // for the next attempt; nil once it has fired
}

func (r *race) run(f func()) { runOn(r.loop, f) }

// begin begins the race, once the port is known.
func (r *race) begin() {
	if r.done == nil { // canceled
		return
	}
	host := r.target.host
	if mayBeLiteral(host) {
		if addr, err := netip.ParseAddr(host); err == nil {
			r.learn([]netip.Addr{addr})
			if len(r.untried) == 0 {
				r.endWith(fmt.Errorf("%v is not an address of network %s: %w", addr, r.network, ErrNoData))
				return
			}
			r.next()
			return
		}
	}
	r.resolving = true
	lk := &Lookup{loop: r.loop, name: host, typ: r.wanted(), done: r.resolved}
	lk.early = early{r.resolvedEarly, r.dialer.ResolutionDelay}
	r.lookup = r.dialer.Resolver.startLookup(lk)
}

// wanted returns the type of records to look up.
func (r *race) wanted() Type {
	switch r.network {
	case "tcp4":
		return TypeA
	case "tcp6":
		return TypeAAAA
	}
	return typeAddresses
}

// resolvedEarly is called with the addresses of one family, while the lookup goes on for the other one.
func (r *race) resolvedEarly(a Answer) {
	if r.done != nil {
		r.learn(a.Addrs)
		r.proceed()
	}
}

// resolved is called with the result of the lookup.
func (r *race) resolved(a Answer, err error) {
	if r.done == nil {
		return
	}
	r.resolving = false
	if err != nil {
		if len(r.untried)+len(r.tried) == 0 {
			r.endWith(err)
			return
		}
		r.proceed() // with what has been reported early
		return
	}
	addrs := a.Addrs
	if a.Path == PathHosts || r.wanted() != typeAddresses { // the others are sorted
		addrs = slices.Clone(addrs)
		r.dialer.Resolver.sorter.Sort(r.loop.Group().Config().Network, addrs)
	}
	if r.learn(addrs); len(r.untried)+len(r.tried) == 0 {
		r.endWith(&Error{Name: r.target.host, Path: a.Path, Err: fmt.Errorf("no address is of network %s: %w", r.network, ErrNoData)})
		return
	}
	r.proceed()
}

// learn replaces the addresses that have not been tried. addrs are all that are known, in the order of RFC 6724.
func (r *race) learn(addrs []netip.Addr) {
	r.untried = r.untried[:0:0]
	for _, addr := range addrs {
		addr = dialable(addr)
		if (r.network == "tcp" || (r.network == "tcp4") == addr.Is4()) && !slices.Contains(r.tried, addr) && !slices.Contains(r.untried, addr) {
			r.untried = append(r.untried, addr)
		}
	}
	if n := len(r.tried); n > 0 {
		r.untried = addrorder.InterleaveAfter(r.tried[n-1], r.untried)
	} else {
		r.untried = addrorder.Interleave(r.untried, 1)
	}
	r.untried = r.untried[:min(len(r.untried), maxDialed-len(r.tried))]
}

// dialable returns addr without the form of IPv4 in IPv6, and the loopback address for an unspecified one, which
// not all systems connect to.
func dialable(addr netip.Addr) netip.Addr {
	switch addr = addr.Unmap(); addr.WithZone("") {
	case netip.IPv4Unspecified():
		return loopback[0]
	case netip.IPv6Unspecified():
		return loopback[1]
	}
	return addr
}

// proceed goes on after the addresses have changed: the latest attempt keeps its time.
func (r *race) proceed() {
	if r.timer == nil || r.running == 0 {
		r.next()
	}
}

// next begins the next attempt: when the latest has failed, or has taken too long.
func (r *race) next() {
	if r.done == nil || r.decided {
		return
	}
	for len(r.untried) > 0 {
		if r.ctx.Err() != nil {
			r.canceled(context.Cause(r.ctx))
			return
		}
		addr := r.untried[0]
		a := &attempt{race: r, index: len(r.errs)}
		err := r.loop.Dial(r.ctx, "tcp", netip.AddrPortFrom(addr, r.target.port).String(), a.opened, a.ended, r.options...)
		if err != nil && r.running > 0 && isExhausted(err) {
			r.startTimer() // the address is good: try it again when the attempts may have released something
			return
		}
		r.untried, r.tried = r.untried[1:], append(r.tried, addr)
		r.errs = append(r.errs, err)
		if err != nil {
			continue
		}
		r.running++
		r.latest = a
		r.startTimer()
		return
	}
	r.endIfNothingIsLeft()
}

// isExhausted reports an error that another address would have as well.
func isExhausted(err error) bool {
	return sys.IsResourceError(err) || errors.Is(err, loop.ErrTooManyConns)
}

// startTimer starts the time of the latest attempt.
func (r *race) startTimer() {
	r.stopTimer()
	r.timer = r.loop.AfterFunc(r.dialer.AttemptDelay, func() {
		r.timer = nil
		r.next()
	})
}

func (r *race) stopTimer() {
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
}

func (r *race) endIfNothingIsLeft() {
	switch {
	case r.running > 0, r.resolving:
	case len(r.errs) == 1:
		r.end(nil, r.errs[0])
	default:
		r.endWith(&AttemptsError{r.target.host, r.errs})
	}
}

// canceled is called when the context has ended, because of cause. That cancels the attempts as well: the last
// of them ends the race, so that the error has their addresses.
func (r *race) canceled(cause error) {
	switch {
	case r.running > 0 && !r.decided:
		r.untried = nil
		if r.resolving {
			r.resolving = false
			r.lookup.Cancel()
		}
	case len(r.errs) > 0 && !r.decided:
		r.endWith(&AttemptsError{r.target.host, append(r.errs, dialError(r.network, cause))})
	case r.resolving && !r.decided:
		r.endWith(&Error{Name: r.target.host, Err: cause})
	default:
		r.endWith(cause)
	}
}

// An attempt is one connection of a race.
type attempt struct {
	race  *race
	index int // in errs
	won   bool
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
		r.errs[a.index] = err
		if a == r.latest || r.running == 0 {
			r.next()
		}
	}
}

// endWith ends the race with an error that does not name the address.
func (r *race) endWith(err error) {
	r.end(nil, &net.OpError{Op: "dial", Net: r.network, Addr: dialAddr{r.network, r.address}, Err: err})
}

// lateAnswers is how long the lookup goes on after the race is won: the answer is for the cache (RFC 8305, section 5).
const lateAnswers = time.Second

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
	r.stopTimer()
	switch {
	case !r.resolving:
	case err == nil:
		r.loop.AfterFunc(lateAnswers, r.lookup.Cancel)
	default:
		r.lookup.Cancel()
	}
	r.cancel(context.Canceled)
	done(c, err)
}
