package dns

import (
	"slices"
	"time"

	"github.com/pollux-io/pollux/internal/dnscache"
	"github.com/pollux-io/pollux/internal/dnsconf"
)

// A known is what lookups have found out about a name and a type: a whole answer, in place of those to its questions,
// which Resolver.results has. It is immutable.
type known struct {
	answer Answer
	err    *Error // ErrNoName or ErrNoData; then there is no answer
	// hosts is the hosts file that was found not to have the name. While it is the current one, a hit costs no look at it.
	hosts *dnsconf.Hosts
}

// cached is inline for what earlier lookups have found out.
func (r *Resolver) cached(a *Answer, v *view, now time.Duration, name string, t Type, count tally) (ok bool, err error) {
	get := r.known.Get
	if !count {
		get = r.known.Peek
	}
	hit, ok := get(now, dnscache.Key{Name: name, Type: uint16(t), Epoch: uint32(v.Epoch)})
	if !ok {
		return false, nil
	}
	k := hit.Value
	if k.hosts != v.Hosts && v.hosts(a, name, t) { // which precedes
		if count {
			r.counts.knownOverruled.Inc()
		}
		return false, nil
	}
	if e := k.err; e != nil {
		if count {
			r.counts.knownAbsent.Inc()
		}
		if e.Name != name { // in another case
			e = &Error{Name: name, Type: t, Path: PathCache, Err: e.Err}
		}
		return true, e
	}
	*a = k.answer
	a.Name, a.TTL = name, hit.TTL
	return true, nil
}

// remember stores an answer. Stale answers, and those of the pool, which have no TTL, must not be given to it.
func (lk *Lookup) remember(a *Answer) {
	k := &known{answer: *a}
	k.answer.Path, k.answer.Steps = PathCache, nil
	k.answer.Addrs, k.answer.Records = slices.Clip(a.Addrs), slices.Clip(a.Records) // callers may append
	lk.put(k, a.TTL, resultBytes+recordBytes*len(a.Records))
}

// rememberAbsent stores that there is no answer.
func (lk *Lookup) rememberAbsent() {
	lk.put(&known{err: &Error{Name: lk.name, Type: lk.typ, Path: PathCache, Err: lk.absent}}, lk.absentTTL, resultBytes)
}

func (lk *Lookup) put(k *known, ttl time.Duration, size int) {
	if k.hosts = lk.view.Hosts; lk.view.hosts(&Answer{}, lk.name, lk.typ) { // the file has got the name since inline looked at it
		return
	}
	lk.r.known.Put(lk.r.now(), dnscache.Key{Name: lk.name, Type: uint16(lk.typ), Epoch: uint32(lk.view.Epoch)}, dnscache.Answer[*known]{
		Value: k, TTL: ttl, Negative: k.err != nil, Size: size,
	})
}
