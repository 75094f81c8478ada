package dns

import (
	"slices"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
)

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
