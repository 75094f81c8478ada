package dns

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/exchange"
)

// partEnded is called with the result of a part of the name with index at.
func (lk *Lookup) partEnded(at, i int, v *result, err error) {
	if lk.done == nil || at != lk.at {
		return
	}
	p := &lk.parts[i]
	p.waiter = nil
	if p.joined && !p.retried && errors.Is(err, ErrClosed) { // with its loop; if the resolver is closed, Join fails
		p.retried = true
		lk.askServers(i)
		return
	}
	if err != nil && p.stale != nil {
		if v != nil {
			p.stale.steps = v.steps
		}
		v, err, p.isOld = p.stale, nil, true
	}
	p.result, p.err = v, err
	lk.open--
	switch {
	case lk.open == 0:
		lk.conclude()
	default:
		if lk.oneByOne() {
			lk.askPart(i + 1)
		}
		if lk.early.report != nil && err == nil && v.kind == dnswire.Positive {
			lk.reportEarly(p)
		}
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
		case p.result == nil:
		case p.result.kind == dnswire.Positive:
			positive = true
		default:
			lk.expire(p.result)
		}
	}
	if positive { // one family is enough
		lk.succeed(steps)
		return
	}
	lk.noteFailure(err, steps)
	// Each name of the search list would cost another timeout; and with a closed resolver all fail.
	if _, answered := errors.AsType[*exchange.RcodeError](err); lk.at+1 < len(lk.choice.names) && (err == nil || answered) {
		lk.at++
		lk.ask()
		return
	}
	if lk.failed != nil {
		lk.fail(lk.failed)
		return
	}
	if lk.choice.path == PathEvented {
		lk.rememberAbsent()
	}
	lk.fail(lk.absent)
}

// expire notes a negative result: what follows from it is valid while it is.
func (lk *Lookup) expire(negative *result) {
	if lk.absentTTL < 0 || negative.ttl < lk.absentTTL {
		lk.absentTTL = negative.ttl
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
	a := Answer{Name: lk.name, Canonical: lk.name, Type: lk.typ, Reason: lk.choice.poolReason(), Steps: steps}
	complete := true
	for i := range lk.parts {
		p := &lk.parts[i]
		if p.result == nil || p.err != nil {
			complete = false
		} else if p.result.kind == dnswire.Positive {
			lk.add(&a, p)
		}
	}
	// Another family, or a name before this one of the search list, may come to exist. If it is not known when (a response
	// without an SOA record), the answer is not cached as a whole (RFC 2308, section 5).
	if lk.absentTTL > 0 {
		a.TTL = min(a.TTL, lk.absentTTL)
	}
	if wantsAddresses(lk.typ) && len(a.Addrs) == 0 { // the pool has found those of the other family
		lk.fail(ErrNoData)
		return
	}
	a.Addrs = lk.sorted(a.Addrs)
	if complete && lk.absentTTL != 0 && lk.failed == nil && !a.Stale && lk.choice.path == PathEvented {
		lk.remember(&a)
	}
	lk.r.counts.success(a.Path)
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

// sorted returns addresses of both families in the order of RFC 6724.
func (lk *Lookup) sorted(addrs []netip.Addr) []netip.Addr {
	if lk.typ == typeAddresses {
		lk.r.sorter.Sort(lk.loop.Group().Config().Network, addrs)
	}
	return addrs
}

// An early delivers the addresses of the family that is resolved first, while the lookup goes on for the other
// one (RFC 8305, section 3).
type early struct {
	// report is called at most once, on the loop, before done, and only if there are addresses.
	report func(Answer)
	// delay is how long IPv4 addresses wait for IPv6 ones. IPv6 addresses do not wait.
	delay time.Duration
}

// reportEarly reports part p, the first to be resolved, unless the lookup ends before the delay.
func (lk *Lookup) reportEarly(p *part) {
	report := func(p *part) {
		a := Answer{Name: lk.name, Canonical: lk.name, Type: lk.typ}
		lk.add(&a, p)
		a.Addrs = lk.sorted(slices.Clip(a.Addrs))
		lk.early.report(a)
	}
	if p.typ == dnswire.TypeAAAA {
		report(p)
		return
	}
	at, first := lk.at, *p
	lk.timer = lk.loop.AfterFunc(lk.early.delay, func() {
		if lk.done != nil && at == lk.at {
			report(&first)
		}
	})
}
