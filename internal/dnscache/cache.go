// Package dnscache keeps the answers to DNS queries: positive ones while their TTL lasts and, as a
// fallback for failing servers, for some time after (RFC 8767); negative ones while their TTL lasts
// (RFC 2308).
//
// Get is on the path of every lookup and may run on a loop, so it takes no lock and allocates
// nothing: it walks a hash table whose nodes do not change once they are published (table.go). Put
// follows a query of the network, which takes far longer, so one mutex serialises the writers.
// Which entries leave a full cache is in evict.go. The clock is the caller's: any monotonic one,
// as a time.Duration since an origin that stays the same.
package dnscache

import (
	"sync"
	"time"

	"github.com/pollux-io/pollux/internal/stripes"
)

const (
	// StaleTTL is the TTL of a stale answer (RFC 8767, section 4).
	StaleTTL = 30 * time.Second
	// RecheckInterval is how long a stale answer is used without another refresh after a refresh
	// has failed (RFC 8767, section 5).
	RecheckInterval = 30 * time.Second
	// MaxName is the length of the longest name in bytes. Longer ones are never cached. The
	// presentation format of a name has at most 1012 bytes, all of them escaped.
	MaxName = 1024
	// MaxEntries is the limit of Config.MaxEntries.
	MaxEntries = 1 << 24
	// entryBytes is what an entry takes, besides the caller's value and the name.
	entryBytes = 192
	// largestPart is the part of MaxBytes that one entry may take, so that one answer cannot
	// displace all others.
	largestPart = 4
)

// Config has the limits of a cache. The durations must not be negative.
type Config struct {
	MaxEntries     int           // 0 or less disables the cache; more than the constant MaxEntries counts as that
	MaxBytes       int           // of names, values and bookkeeping together
	MaxTTL         time.Duration // longer TTLs of positive answers are cut to it
	MaxNegativeTTL time.Duration // longer TTLs of negative answers are cut to it; RFC 2308 advises 3 h or less
	MaxStale       time.Duration // how long a positive answer is kept once its TTL has ended
	IgnoreMisses   bool          // do not count them, for a cache in front of another one
}

// A Key names an answer. Names that differ only in the case of ASCII letters are the same;
// otherwise the caller spells each name in one way: final dot, escapes.
type Key struct {
	Name string
	Type uint16
	// Epoch is the generation of the caller's configuration. Answers obtained under an earlier one
	// are not found under the next, even if they arrive after the change.
	Epoch uint32
}

// An Answer is what Put stores. Value must not change afterwards: each Get returns it.
type Answer[V any] struct {
	Value    V
	TTL      time.Duration // if 0 or less, the answer is not stored
	Negative bool          // the name does not exist, or has no record of the type
	Size     int           // bytes that Value refers to; not negative
}

// A Hit is what Get returns.
type Hit[V any] struct {
	Value V
	TTL   time.Duration // remaining; StaleTTL if the answer is stale
	// Stale reports that the TTL has ended. Such an answer is used only if it cannot be refreshed.
	Stale bool
	// Refresh reports that the caller must try to refresh a stale answer before using it, and call
	// RefreshFailed if that fails.
	Refresh bool
}

// Stats are counts since New, except Entries and Bytes, which are current.
type Stats struct {
	Entries, Bytes int // expired entries are included until they are replaced or evicted
	Hits           uint64
	StaleHits      uint64
	Misses         uint64
	Evictions      uint64 // entries removed to make space for others before they expired
}

// A Cache maps keys to answers. Its methods may be called from any goroutine. Use New.
type Cache[V any] struct {
	config Config
	table  table[V]

	hits, staleHits, misses stripes.Counter

	mu        sync.Mutex // serialises changes of the table, and guards what follows
	eviction  eviction[V]
	evictions uint64
}

// New returns an empty cache. Its tables are made at once: 12 to 24 bytes for each of c.MaxEntries.
func New[V any](c Config) *Cache[V] {
	c.MaxEntries = min(c.MaxEntries, MaxEntries)
	cache := &Cache[V]{config: c}
	if c.MaxEntries > 0 {
		cache.table.init(c.MaxEntries)
		cache.eviction.init(c.MaxEntries, c.MaxBytes)
	}
	return cache
}

// Get returns the answer for k at the time now, if the cache has one that is fresh or stale.
func (c *Cache[V]) Get(now time.Duration, k Key) (h Hit[V], ok bool) {
	n := c.table.find(k)
	if n == nil || now >= n.removable {
		if !c.config.IgnoreMisses {
			c.misses.Inc()
		}
		return h, false
	}
	if h = n.hit(now); h.Stale {
		c.staleHits.Inc()
	} else {
		c.hits.Inc()
	}
	n.use()
	return h, true
}

// Peek is Get without a trace: it counts nothing, and is no use of the entry.
func (c *Cache[V]) Peek(now time.Duration, k Key) (h Hit[V], ok bool) {
	n := c.table.find(k)
	if n == nil || now >= n.removable {
		return h, false
	}
	return n.hit(now), true
}

// Put stores an answer that was received at the time now, in place of an earlier one. An answer
// that may not be stored (TTL 0, larger than a quarter of MaxBytes) removes the earlier one all the
// same, which it contradicts.
func (c *Cache[V]) Put(now time.Duration, k Key, a Answer[V]) {
	if c.config.MaxEntries <= 0 || len(k.Name) > MaxName {
		return
	}
	n := c.newNode(now, k, a)
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.table.find(k)
	switch storable := now < n.expires && n.bytes <= c.config.MaxBytes/largestPart; {
	case !storable && old != nil:
		c.table.remove(old)
		c.eviction.remove(old)
	case !storable:
	case old != nil:
		c.table.replace(old, n)
		c.eviction.replace(old, n)
	default:
		c.table.insert(n)
		c.eviction.add(n)
	}
	c.evictLocked(now, n)
}

// newNode returns the node of an answer. The name is copied, as it may be a part of a longer string.
func (c *Cache[V]) newNode(now time.Duration, k Key, a Answer[V]) *node[V] {
	k.Name = foldedCopy(k.Name)
	n := &node[V]{key: k, hash: c.table.hash(k), value: a.Value, bytes: len(k.Name) + a.Size + entryBytes}
	if a.Negative {
		// A stale negative answer would hide the server's failure and serve no user.
		n.expires = now + min(a.TTL, c.config.MaxNegativeTTL)
		n.removable = n.expires
	} else {
		n.expires = now + min(a.TTL, c.config.MaxTTL)
		n.removable = n.expires + c.config.MaxStale
	}
	return n
}

// evictLocked removes entries other than newest until the cache is within its limits.
func (c *Cache[V]) evictLocked(now time.Duration, newest *node[V]) {
	for c.eviction.exceeded() {
		n := c.eviction.next(now, newest)
		c.table.remove(n)
		if now < n.removable {
			c.evictions++
		}
	}
}

// RefreshFailed records that the stale answer for k could not be refreshed. For RecheckInterval, Get
// returns it without Refresh.
func (c *Cache[V]) RefreshFailed(now time.Duration, k Key) {
	if n := c.table.find(k); n != nil && now >= n.expires { // else another query has refreshed it
		n.recheck.Store(int64(now + RecheckInterval))
	}
}

// Flush removes all entries. A query that is in flight may still add its answer: a caller who
// flushes because the answers have become wrong changes Key.Epoch.
func (c *Cache[V]) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.table.clear()
	c.eviction.clear()
}

// Stats returns the counts.
func (c *Cache[V]) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{Evictions: c.evictions, Hits: c.hits.Load(), StaleHits: c.staleHits.Load(), Misses: c.misses.Load()}
	s.Entries, s.Bytes = c.eviction.size()
	return s
}
