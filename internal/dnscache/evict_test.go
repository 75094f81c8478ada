package dnscache

import (
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

func put(c *Cache[string], name string) { c.Put(0, key(name), positive("v", time.Hour)) }

// get reports whether name is cached, and puts it if not, as a resolver does.
func get(c *Cache[string], name string) bool {
	_, ok := c.Get(0, key(name))
	if !ok {
		put(c, name)
	}
	return ok
}

// manyNames is how many names a test of limits uses.
func manyNames() int {
	if testkit.Race {
		return 10_000
	}
	return 100_000
}

// The cache stays within its limits, whichever of them is reached first, whatever the sizes.
func TestLimits(t *testing.T) {
	tests := []struct {
		name    string
		entries int
		bytes   int
	}{
		{"entries", 500, 1 << 30},
		{"bytes", 100_000, 200_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			limited := config
			limited.MaxEntries, limited.MaxBytes = tt.entries, tt.bytes
			c := New[string](limited)
			for i := range manyNames() {
				c.Put(0, key(name(i)), Answer[string]{TTL: time.Hour, Size: i % 3000})
				if i%5 == 0 {
					get(c, name(i/2))
				}
				if e, b := c.eviction.size(); e > tt.entries || b > tt.bytes {
					t.Fatalf("after %d answers the cache has %d entries of %d bytes, its limits are %d and %d", i+1, e, b, tt.entries, tt.bytes)
				}
			}
			c.check(t)
			s := c.Stats()
			if s.Entries < tt.entries*9/10 && s.Bytes < tt.bytes*9/10 {
				t.Errorf("the cache has only %d entries of %d bytes", s.Entries, s.Bytes)
			}
			if s.Evictions == 0 {
				t.Error("no evictions were counted")
			}
		})
	}
}

// An answer is in the cache when its Put has returned, whatever the others, if it is not too large
// for it.
func TestNewestStays(t *testing.T) {
	limited := config
	for _, limited.MaxEntries = range []int{1, 2, 9, 100} {
		limited.MaxBytes = 20 * entryBytes
		c := New[string](limited)
		for i := range 5000 {
			k := key(name(i * i % 150))
			c.Put(0, k, Answer[string]{Value: k.Name, TTL: time.Hour, Size: i % 4 * entryBytes})
			for range i % 5 {
				checkHit(t, c, 0, k, Hit[string]{Value: k.Name, TTL: time.Hour})
			}
			if _, ok := c.Get(0, k); !ok {
				t.Fatalf("of %d entries at most: the answer that was put last is not cached", limited.MaxEntries)
			}
		}
		c.check(t)
	}
}

// Names in use survive a scan of many names that are used once.
func TestScanResistance(t *testing.T) {
	for name, limited := range map[string]Config{
		"entries": {MaxEntries: 1000, MaxBytes: 1 << 30, MaxTTL: time.Hour},
		"bytes":   {MaxEntries: 1 << 20, MaxBytes: 1000 * (entryBytes + 30), MaxTTL: time.Hour},
	} {
		t.Run(name, func(t *testing.T) { testScan(t, New[string](limited)) })
	}
}

// testScan scans with a cache for about a thousand entries.
func testScan(t *testing.T, c *Cache[string]) {
	const popular = 500
	for range 3 {
		for i := range popular {
			get(c, name(i))
		}
	}
	for i := range 20_000 {
		put(c, "scan-"+name(i))
		if i%20 == 0 {
			get(c, name(i/20%popular)) // now and then, each of them
		}
	}
	kept := 0
	for i := range popular {
		if _, ok := c.Get(0, key(name(i))); ok {
			kept++
		}
	}
	if want := popular * 99 / 100; kept < want {
		t.Errorf("a scan has displaced %d of %d names that were in use, want at most %d", popular-kept, popular, popular-want)
	}
	c.check(t)
}

// Names that recur at intervals longer than probation, but are fewer than the cache's capacity, get
// cached.
func TestRecurringNames(t *testing.T) {
	limited := config
	limited.MaxEntries = 1000
	c := New[string](limited)
	// The names of a round and what is used once meanwhile are twice the capacity.
	once := 0
	const recurring = 400
	hits := 0
	for round := range 20 {
		for i := range recurring {
			if get(c, name(i)) && round >= 10 {
				hits++
			}
			for range 4 {
				get(c, "once-"+name(once))
				once++
			}
		}
	}
	if want := 10 * recurring * 9 / 10; hits < want {
		t.Errorf("recurring names were hit %d times of %d, want %d", hits, 10*recurring, want)
	}
}

// The entry that leaves is the oldest of those with the fewest uses; before them, one that has
// expired.
func TestOrder(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(c *Cache[string])
		evicted int
		counted uint64
	}{
		{"oldest", func(*Cache[string]) {}, 0, 1},
		{"more uses", func(c *Cache[string]) { get(c, name(0)) }, 1, 1},
		{"replaced", func(c *Cache[string]) { put(c, name(0)) }, 1, 1},
		{"expired", func(c *Cache[string]) {
			c.Put(0, key(name(5)), Answer[string]{TTL: time.Second, Negative: true})
			for range maxUses {
				get(c, name(5))
			}
			put(c, name(19)) // so that the expired one is not among the last of probation
			put(c, name(18))
		}, 5, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			limited := config
			limited.MaxEntries = 20
			c := New[string](limited)
			for i := range 20 {
				get(c, name(i))
				get(c, name(i))
			}
			tt.prepare(c)
			c.Put(time.Second, key("new"), positive("v", time.Hour))
			for i := range 20 {
				if cached := c.table.find(key(name(i))) != nil; cached != (i != tt.evicted) {
					t.Errorf("%s is cached: %t; the entry to evict was %s", name(i), cached, name(tt.evicted))
				}
			}
			if n := c.Stats().Evictions; n != tt.counted {
				t.Errorf("%d evictions were counted, want %d", n, tt.counted)
			}
			c.check(t)
		})
	}
}

// An answer that replaces another inherits its uses.
func TestReplacedKeepsUses(t *testing.T) {
	c := New[string](config)
	for range 3 {
		get(c, name(0))
	}
	put(c, name(0))
	if uses := c.table.find(key(name(0))).uses.Load(); uses != 2 {
		t.Errorf("the new entry has %d uses, want 2", uses)
	}
}

// A Put passes over at most maxReprieves used entries.
func TestReprievesAreBounded(t *testing.T) {
	limited := config
	limited.MaxEntries = 1000
	c := New[string](limited)
	for i := range 1000 {
		for range maxUses + 1 {
			get(c, name(i))
		}
	}
	put(c, "new")
	consumed := 0
	for i := range 1000 {
		if n := c.table.find(key(name(i))); n != nil && n.uses.Load() < maxUses {
			consumed++
		}
	}
	if consumed != maxReprieves {
		t.Errorf("a Put passed over %d entries, want %d", consumed, maxReprieves)
	}
	if n := c.Stats().Entries; n != 1000 {
		t.Errorf("the cache has %d entries, want 1000", n)
	}
	c.check(t)
}

// The last names with a hash are remembered, until they are stored again.
func TestGhosts(t *testing.T) {
	var g ghosts
	for f := range uint32(ghostWays + 1) {
		g.remember(f + 1)
	}
	for _, tt := range []struct {
		fingerprint uint32
		want        bool
	}{{1, false}, {3, true}, {3, false}, {2, true}, {ghostWays + 1, true}, {ghostWays + 1, false}, {4, true}} {
		if got := g.forget(tt.fingerprint); got != tt.want {
			t.Errorf("forget(%d) = %t, want %t", tt.fingerprint, got, tt.want)
		}
	}
	if g != (ghosts{}) {
		t.Errorf("%v is left", g)
	}
}

// Entries that are not in use any more do not keep others out: uses are consumed.
func TestFormerlyPopular(t *testing.T) {
	limited := config
	limited.MaxEntries = 100
	c := New[string](limited)
	for range maxUses + 2 {
		for i := range 100 {
			get(c, name(i))
		}
	}
	hits := 0
	for round := range 20 {
		for i := range 80 {
			if get(c, "new-"+name(i)) && round >= 10 {
				hits++
			}
		}
	}
	if want := 10 * 80 * 9 / 10; hits < want {
		t.Errorf("new names were hit %d times of %d, want %d", hits, 10*80, want)
	}
}
