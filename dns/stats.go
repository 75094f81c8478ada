package dns

import (
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/exchange"
	"github.com/pollux-io/pollux/internal/stripes"
)

// Stats are the counters of a Resolver since New, and its current state.
type Stats struct {
	// Lookups that have ended with an answer, by its Path.
	Literal, Localhost, Hosts, Cached, Stale, Evented, Pool uint64
	// NotFound counts the lookups that have ended with ErrNotFound, from the cache or not, and Failed those with another
	// error, canceled ones included.
	NotFound, Failed uint64

	// Shared counts the questions for which a lookup has joined a query, or a lookup of the pool, of another one.
	Shared uint64
	// InFlight is the number of queries and lookups of the pool in progress, and Waiting that of the questions of
	// lookups that wait for them. Each is at most Config.MaxInFlight.
	InFlight, Waiting int

	SentUDP, SentTCP uint64 // queries sent, all attempts included
	Dropped          uint64 // messages that were received and respond to no query in flight: late, duplicate or forged
	Timeouts         uint64 // attempts without a response in time, of queries that have ended

	Cache CacheStats
	// PoolRunning is the number of goroutines of the pool in the system's resolver, and PoolQueued that of the lookups
	// that wait for one.
	PoolRunning, PoolQueued int
}

// CacheStats are the counters of a Resolver's cache, and its size.
type CacheStats struct {
	// Entries and Bytes are the current size: of answers to questions and, for names found again, of whole answers,
	// either of which Config.CacheEntries limits. Expired entries are included until they are replaced or evicted.
	Entries, Bytes int
	// Hits counts what was found, StaleHits what was found with its TTL ended, and Misses the questions for which servers
	// had to be asked.
	Hits, StaleHits, Misses uint64
	// Evictions counts the entries removed before they had expired, to make space for others.
	Evictions uint64
}

// ServerStats is what the loops of a Resolver know of one DNS server, and the counters of its queries. A server
// that is not configured any more is forgotten.
type ServerStats struct {
	Addr netip.AddrPort
	// Sent counts the messages sent, Answered those that the server has answered, if only with an error, and
	// TimedOut the attempts without a response in time.
	Sent, Answered, TimedOut uint64
	// InFlight is how many messages wait for a response, and Queued how many lookups wait because of
	// Config.MaxQueriesPerServer or MaxRatePerServer.
	InFlight, Queued int
	// MeanRTT is the moving average of the time from a query to its response; 0 before the first one.
	MeanRTT time.Duration
	// Failing: the server does not respond. It is asked after the others, and tested every 30 s.
	Failing bool
	// NoEDNS: the server does not understand EDNS (RFC 6891). LosesCase: it does not repeat the case of names, so
	// it is asked over TCP. Both are assumed for 15 min, and then tested again.
	NoEDNS, LosesCase bool
}

// counts are the counters of a Resolver that nothing else has. Those of lookups that end in a few nanoseconds are
// striped.
type counts struct {
	literal, localhost, hosts stripes.Counter
	knownAbsent               stripes.Counter // ErrNotFound by Resolver.known
	knownOverruled            stripes.Counter // hits of Resolver.known for names that the hosts file has got meanwhile

	evented, pool, cached, stale atomic.Uint64 // of lookups that were not answered inline
	notFound, failed             atomic.Uint64 // likewise
	shared, timeouts             atomic.Uint64
}

// success counts a lookup with an answer that is not inline.
func (c *counts) success(p Path) {
	switch p.Kind() {
	case PathPool:
		c.pool.Add(1)
	case PathCache:
		c.cached.Add(1)
	case PathStale:
		c.stale.Add(1)
	default:
		c.evented.Add(1)
	}
}

func (c *counts) failure(err error) {
	if errors.Is(err, ErrNotFound) {
		c.notFound.Add(1)
		return
	}
	c.failed.Add(1)
}

// attempts counts those of a query that have failed.
func (c *counts) attempts(steps []exchange.Step) {
	for i := range steps {
		if steps[i].Err == exchange.ErrTimeout {
			c.timeouts.Add(1)
		}
	}
}

// Stats returns the counters. It may be called from anywhere, also in callbacks, and waits for no loop. The counters
// are read one after the other, while lookups go on.
func (r *Resolver) Stats() Stats {
	r.mu.Lock()
	sent := r.gone
	for _, x := range r.exchangers {
		sent.Add(x.Traffic())
	}
	r.mu.Unlock()
	c := &r.counts
	// Each of these was a hit before: what they are subtracted from is read after them.
	absent, overruled := c.knownAbsent.Load(), c.knownOverruled.Load()
	whole, parts := r.known.Stats(), r.results.Stats()
	s := Stats{
		Literal: c.literal.Load(), Localhost: c.localhost.Load(), Hosts: c.hosts.Load(),
		Cached: c.cached.Load() + whole.Hits - absent - overruled, Stale: c.stale.Load(),
		Evented: c.evented.Load(), Pool: c.pool.Load(),
		NotFound: c.notFound.Load() + absent, Failed: c.failed.Load(), Shared: c.shared.Load(),
		SentUDP: sent.SentUDP, SentTCP: sent.SentTCP, Dropped: sent.Dropped, Timeouts: c.timeouts.Load(),
		Cache: CacheStats{
			Entries: whole.Entries + parts.Entries, Bytes: whole.Bytes + parts.Bytes,
			Hits: whole.Hits + parts.Hits, StaleHits: parts.StaleHits, Misses: parts.Misses,
			Evictions: whole.Evictions + parts.Evictions,
		},
	}
	s.InFlight, s.Waiting = r.flights.InFlight()
	s.PoolRunning, s.PoolQueued = r.pool.Stats()
	return s
}

// ServerStats returns an element for each DNS server, the sum over all loops, in the order of their addresses.
// It may be called from anywhere, and does not wait.
func (r *Resolver) ServerStats() []ServerStats {
	r.mu.Lock()
	exchangers := make([]*exchange.Exchanger, 0, len(r.exchangers))
	for _, x := range r.exchangers {
		exchangers = append(exchangers, x)
	}
	r.mu.Unlock()
	sum := map[netip.AddrPort]*exchange.ServerStats{}
	for _, x := range exchangers {
		x.AddServerStats(sum)
	}
	all := make([]ServerStats, 0, len(sum))
	for _, s := range sum {
		all = append(all, ServerStats(*s))
	}
	slices.SortFunc(all, func(a, b ServerStats) int { return a.Addr.Compare(b.Addr) })
	return all
}
