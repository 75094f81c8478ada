package dnscache

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/pollux-io/pollux/internal/testkit"
)

const (
	typeA    = 1
	typeAAAA = 28
)

var config = Config{
	MaxEntries:     1000,
	MaxBytes:       1 << 20,
	MaxTTL:         time.Hour,
	MaxNegativeTTL: time.Minute,
	MaxStale:       2 * time.Hour,
}

func key(name string) Key { return Key{Name: name, Type: typeA} }

// name returns one of many names.
func name(i int) string { return fmt.Sprintf("host-%d.example.org", i) }

// positive returns an answer that lasts for ttl.
func positive(value string, ttl time.Duration) Answer[string] {
	return Answer[string]{Value: value, TTL: ttl, Size: len(value)}
}

func checkHit(t *testing.T, c *Cache[string], now time.Duration, k Key, want Hit[string]) {
	t.Helper()
	if h, ok := c.Get(now, k); !ok || h != want {
		t.Errorf("Get(%v, %v) = %+v, %t, want %+v", now, k, h, ok, want)
	}
}

func checkMiss(t *testing.T, c *Cache[string], now time.Duration, k Key) {
	t.Helper()
	if h, ok := c.Get(now, k); ok {
		t.Errorf("Get(%v, %v) = %+v, want a miss", now, k, h)
	}
}

// check compares what the cache's parts record of its entries.
func (c *Cache[V]) check(t *testing.T) {
	t.Helper()
	entries, bytes := 0, 0
	for i := range c.table.buckets {
		for n := c.table.buckets[i].Load(); n != nil; n = n.chain.Load() {
			entries++
			bytes += n.bytes
			if n.hash != c.table.hash(n.key) || n.queue != &c.eviction.probation && n.queue != &c.eviction.main {
				t.Fatalf("the node of %v is damaged: hash %x, queue %p", n.key, n.hash, n.queue)
			}
		}
	}
	queued := 0
	for _, q := range []*queue[V]{&c.eviction.probation, &c.eviction.main} {
		var older *node[V]
		for n := q.oldest; n != nil; older, n = n, n.newer {
			queued++
			if n.queue != q || n.older != older {
				t.Fatalf("the queue is damaged at %v", n.key)
			}
		}
		if q.newest != older {
			t.Fatalf("the newest entry of a queue is %p, want %p", q.newest, older)
		}
	}
	s := c.Stats()
	if s.Entries != entries || s.Bytes != bytes || queued != entries {
		t.Fatalf("Stats() has %d entries of %d bytes, the table %d of %d, the queues %d", s.Entries, s.Bytes, entries, bytes, queued)
	}
	if entries > c.config.MaxEntries || bytes > c.config.MaxBytes {
		t.Fatalf("the cache has %d entries of %d bytes, its limits are %d and %d", entries, bytes, c.config.MaxEntries, c.config.MaxBytes)
	}
}

// A positive answer is fresh while its TTL lasts, then stale for MaxStale, then gone. A negative one
// is never stale. TTLs are cut to their limits.
func TestTimes(t *testing.T) {
	const start = 5 * time.Second
	tests := []struct {
		name           string
		answer         Answer[string]
		fresh, removed time.Duration // how long, and from when not returned
	}{
		{"positive", positive("v", 10*time.Second), 10 * time.Second, 10*time.Second + config.MaxStale},
		{"at most MaxTTL", positive("v", 1000*time.Hour), config.MaxTTL, config.MaxTTL + config.MaxStale},
		{"longest TTL", positive("v", 1<<63-1), config.MaxTTL, config.MaxTTL + config.MaxStale},
		{"negative", Answer[string]{Value: "v", TTL: 10 * time.Second, Negative: true}, 10 * time.Second, 10 * time.Second},
		{"at most MaxNegativeTTL", Answer[string]{Value: "v", TTL: time.Hour, Negative: true}, config.MaxNegativeTTL, config.MaxNegativeTTL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, k := New[string](config), key("a.example")
			c.Put(start, k, tt.answer)
			checkHit(t, c, start, k, Hit[string]{Value: "v", TTL: tt.fresh})
			checkHit(t, c, start+tt.fresh-1, k, Hit[string]{Value: "v", TTL: 1})
			if tt.removed > tt.fresh {
				stale := Hit[string]{Value: "v", TTL: StaleTTL, Stale: true, Refresh: true}
				checkHit(t, c, start+tt.fresh, k, stale)
				checkHit(t, c, start+tt.removed-1, k, stale)
			}
			checkMiss(t, c, start+tt.removed, k)
			c.check(t)
		})
	}
}

// After a failed refresh, a stale answer needs no other for RecheckInterval. A fresh one is not
// affected: its refresh has succeeded meanwhile.
func TestRefreshFailed(t *testing.T) {
	c, k := New[string](config), key("a.example")
	c.RefreshFailed(0, k) // not cached
	c.Put(0, k, positive("old", time.Second))
	c.RefreshFailed(time.Second-1, k)
	stale := Hit[string]{Value: "old", TTL: StaleTTL, Stale: true, Refresh: true}
	checkHit(t, c, time.Second, k, stale)

	const failed = time.Minute
	c.RefreshFailed(failed, key("A.Example"))
	held := stale
	held.Refresh = false
	checkHit(t, c, failed, k, held)
	checkHit(t, c, failed+RecheckInterval-1, k, held)
	checkHit(t, c, failed+RecheckInterval, k, stale)

	c.Put(failed, k, positive("new", time.Second))
	checkHit(t, c, failed, k, Hit[string]{Value: "new", TTL: time.Second})
	checkHit(t, c, failed+time.Second, k, Hit[string]{Value: "new", TTL: StaleTTL, Stale: true, Refresh: true})
}

// Keys differ by name, whatever its case, by type and by epoch. Only ASCII letters have a case.
func TestKeys(t *testing.T) {
	c := New[string](config)
	put := func(k Key, v string) { c.Put(0, k, positive(v, time.Minute)) }
	put(Key{"Www.Example.ORG", typeA, 1}, "A")
	put(Key{"www.example.org", typeAAAA, 1}, "AAAA")
	put(Key{"www.example.org", typeA, 2}, "epoch 2")
	for _, name := range []string{"www.example.org", "WWW.EXAMPLE.ORG", "www.Example.org"} {
		checkHit(t, c, 0, Key{name, typeA, 1}, Hit[string]{Value: "A", TTL: time.Minute})
		checkHit(t, c, 0, Key{name, typeAAAA, 1}, Hit[string]{Value: "AAAA", TTL: time.Minute})
		checkHit(t, c, 0, Key{name, typeA, 2}, Hit[string]{Value: "epoch 2", TTL: time.Minute})
		checkMiss(t, c, 0, Key{name, typeAAAA, 2})
	}
	checkMiss(t, c, 0, Key{"www.example.or", typeA, 1})
	put(key("[@`{Ä.example"), "no letters")
	for _, other := range []string{"{@`{Ä.example", "[`@{Ä.example", "[@`[Ä.example", "[@`{ä.example"} {
		checkMiss(t, c, 0, key(other))
	}
	checkHit(t, c, 0, key("[@`{Ä.EXAMPLE"), Hit[string]{Value: "no letters", TTL: time.Minute})

	put(Key{"WWW.example.org", typeA, 1}, "again")
	checkHit(t, c, 0, Key{"www.example.org", typeA, 1}, Hit[string]{Value: "again", TTL: time.Minute})
	if n := c.Stats().Entries; n != 4 {
		t.Errorf("the cache has %d entries, want 4", n)
	}
	c.check(t)
}

// What may not be stored is not, and removes what it contradicts.
func TestNotStored(t *testing.T) {
	tests := []struct {
		name   string
		answer Answer[string]
	}{
		{"TTL 0", positive("v", 0)},
		{"negative TTL", positive("v", -1)},
		{"negative answer with TTL 0", Answer[string]{Negative: true}},
		{"too large", Answer[string]{TTL: time.Minute, Size: config.MaxBytes / largestPart}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, k := New[string](config), key("a.example")
			c.Put(0, k, tt.answer)
			checkMiss(t, c, 0, k)
			c.Put(0, k, positive("v", time.Minute))
			c.Put(0, k, tt.answer)
			checkMiss(t, c, 0, k)
			c.check(t)
		})
	}
}

// A name of MaxName bytes is stored, a longer one is not.
func TestLongNames(t *testing.T) {
	c := New[string](config)
	for _, s := range []string{"a", "A"} {
		k := key(strings.Repeat(s, MaxName))
		c.Put(0, k, positive(s, time.Minute))
		checkHit(t, c, 0, k, Hit[string]{Value: s, TTL: time.Minute})
		k.Name += s
		c.Put(0, k, positive(s, time.Minute))
		checkMiss(t, c, 0, k)
	}
	if n := c.Stats().Entries; n != 1 {
		t.Errorf("the cache has %d entries, want 1", n)
	}
	c.check(t)
}

// Caches without entries, and those that keep no negative or no stale answers.
func TestDisabled(t *testing.T) {
	k := key("a.example")
	for _, entries := range []int{0, -1} {
		none := config
		none.MaxEntries = entries
		c := New[string](none)
		c.Put(0, k, positive("v", time.Minute))
		c.RefreshFailed(0, k)
		c.Flush()
		checkMiss(t, c, 0, k)
		if s := c.Stats(); s != (Stats{Misses: 1}) {
			t.Errorf("with MaxEntries = %d, Stats() = %+v, want one miss", entries, s)
		}
	}

	some := config
	some.MaxNegativeTTL, some.MaxStale = 0, 0
	c := New[string](some)
	c.Put(0, k, positive("v", time.Minute))
	checkMiss(t, c, time.Minute, k)
	c.Put(0, k, Answer[string]{TTL: time.Minute, Negative: true})
	checkMiss(t, c, 0, k)
	c.check(t)

	one := config
	one.MaxEntries = 1
	c = New[string](one)
	for i := range 3 {
		c.Put(0, key(name(i)), positive("v", time.Minute))
		checkHit(t, c, 0, key(name(i)), Hit[string]{Value: "v", TTL: time.Minute})
		c.check(t)
	}
}

func TestFlushAndStats(t *testing.T) {
	c := New[string](config)
	for i := range 10 {
		c.Put(0, key(name(i)), positive("v", time.Minute))
	}
	checkHit(t, c, 0, key(name(1)), Hit[string]{Value: "v", TTL: time.Minute})
	checkHit(t, c, 0, key(name(2)), Hit[string]{Value: "v", TTL: time.Minute})
	checkHit(t, c, time.Minute, key(name(2)), Hit[string]{Value: "v", TTL: StaleTTL, Stale: true, Refresh: true})
	checkMiss(t, c, 0, key(name(11)))
	s := c.Stats()
	if want := 10 * (len(name(0)) + len("v") + entryBytes); s.Bytes != want {
		t.Errorf("the cache has %d bytes, want %d", s.Bytes, want)
	}
	s.Bytes = 0
	if want := (Stats{Entries: 10, Hits: 2, StaleHits: 1, Misses: 1}); s != want {
		t.Errorf("Stats() = %+v, want %+v", s, want)
	}
	c.Flush()
	checkMiss(t, c, 0, key(name(1)))
	c.check(t)
	if s := c.Stats(); s.Entries != 0 || s.Bytes != 0 {
		t.Errorf("after Flush, Stats() = %+v, want no entries", s)
	}
	c.Put(0, key(name(1)), positive("v", time.Minute))
	checkHit(t, c, 0, key(name(1)), Hit[string]{Value: "v", TTL: time.Minute})
}

// The name of an entry is in memory of its own, as the caller's may be a part of a message.
func TestNameIsCopied(t *testing.T) {
	c := New[string](config)
	message := strings.Repeat("www.example.org", 2)
	k := key(message[15:])
	c.Put(0, k, positive("v", time.Minute))
	if n := c.table.find(k); n == nil || unsafe.StringData(n.key.Name) == unsafe.StringData(k.Name) {
		t.Errorf("the entry is %+v, want one whose name is a copy", n)
	}
}

// A random program of all operations returns what a map would, if the limits are large; if they
// are small, it returns that or nothing.
func TestModel(t *testing.T) {
	for _, entries := range []int{1, 3, 40, 1000} {
		t.Run(fmt.Sprint(entries), func(t *testing.T) {
			limited := config
			limited.MaxEntries = entries
			limited.MaxBytes = (entries + 2) * 2 * entryBytes
			m := model{t: t, cache: New[string](limited), want: map[Key]modelEntry{}, complete: entries == 1000}
			r := rand.New(rand.NewPCG(1, uint64(entries)))
			for range 10_000 {
				m.step(r)
			}
			if m.hits == 0 || m.stale == 0 || m.misses == 0 {
				t.Errorf("the program had %d hits, %d of them stale, and %d misses: want some of each", m.hits, m.stale, m.misses)
			}
		})
	}
}

type modelEntry struct {
	value             string
	expires, dies     time.Duration
	refreshesNotUntil time.Duration
}

type model struct {
	t                   *testing.T
	cache               *Cache[string]
	want                map[Key]modelEntry
	now                 time.Duration
	complete            bool // every entry fits into the cache
	hits, stale, misses int
}

func (m *model) step(r *rand.Rand) {
	m.now += time.Duration(r.Int64N(int64(10 * time.Second)))
	k := Key{Name: name(r.IntN(100)), Type: typeA, Epoch: uint32(r.IntN(2))}
	asked := k
	if r.IntN(2) == 0 {
		asked.Name = strings.ToUpper(k.Name)
	}
	switch r.IntN(1000) {
	case 0:
		m.cache.Flush()
		clear(m.want)
	case 1, 2, 3, 4, 5, 6, 7, 8, 9:
		m.cache.RefreshFailed(m.now, asked)
		if w, ok := m.want[k]; ok && m.now >= w.expires {
			w.refreshesNotUntil = m.now + RecheckInterval
			m.want[k] = w
		}
	default:
		if r.IntN(3) == 0 {
			m.put(r, k, asked)
		} else {
			m.get(k, asked)
		}
	}
	if r.IntN(100) == 0 {
		m.cache.check(m.t)
	}
}

func (m *model) put(r *rand.Rand, k, asked Key) {
	a := positive(fmt.Sprint(r.Int()), time.Duration(r.IntN(200)-5)*time.Second)
	a.Negative = r.IntN(4) == 0
	m.cache.Put(m.now, asked, a)
	delete(m.want, k)
	if a.TTL > 0 {
		w := modelEntry{value: a.Value, expires: m.now + a.TTL}
		w.dies = w.expires + config.MaxStale
		if a.Negative {
			w.expires = m.now + min(a.TTL, config.MaxNegativeTTL)
			w.dies = w.expires
		}
		m.want[k] = w
	}
}

func (m *model) get(k, asked Key) {
	h, ok := m.cache.Get(m.now, asked)
	w, exists := m.want[k]
	exists = exists && m.now < w.dies
	want := Hit[string]{Value: w.value, TTL: w.expires - m.now}
	if m.now >= w.expires {
		want = Hit[string]{Value: w.value, TTL: StaleTTL, Stale: true, Refresh: m.now >= w.refreshesNotUntil}
	}
	switch {
	case ok && !exists, ok && h != want:
		m.t.Fatalf("Get(%v) = %+v, want %+v, which exists: %t", asked, h, want, exists)
	case !ok && exists && m.complete:
		m.t.Fatalf("Get(%v) missed %+v", asked, want)
	case !ok:
		m.misses++
	case h.Stale:
		m.stale++
		m.hits++
	default:
		m.hits++
	}
}

// Get allocates nothing: hits, names with capital letters, misses.
func TestGetDoesNotAllocate(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	c := New[string](config)
	c.Put(0, key("www.example.org"), positive("v", time.Minute))
	for _, name := range []string{"www.example.org", "WWW.Example.Org", "absent.example.org", "ABSENT.example.org"} {
		for _, now := range []time.Duration{0, time.Minute, config.MaxStale + time.Minute} {
			if n := testing.AllocsPerRun(100, func() { c.Get(now, key(name)) }); n != 0 {
				t.Errorf("Get(%v, %s) allocates %v times, want 0", now, name, n)
			}
		}
	}
}

// Peek returns what Get would, and leaves no trace: neither in the counts nor in the uses.
func TestPeek(t *testing.T) {
	c := New[string](config)
	c.Put(0, key("a"), positive("1", time.Minute))
	before := c.Stats()
	for now, want := range map[time.Duration]Hit[string]{
		0:               {Value: "1", TTL: time.Minute},
		2 * time.Minute: {Value: "1", TTL: StaleTTL, Stale: true, Refresh: true},
	} {
		if h, ok := c.Peek(now, key("A")); !ok || h != want {
			t.Errorf("Peek(%v) = %+v, %t, want %+v", now, h, ok, want)
		}
	}
	for _, now := range []time.Duration{time.Minute + config.MaxStale, 24 * time.Hour} {
		if h, ok := c.Peek(now, key("a")); ok {
			t.Errorf("Peek(%v) = %+v, want a miss", now, h)
		}
	}
	if n := c.table.find(key("a")); n.uses.Load() != 0 || c.Stats() != before {
		t.Errorf("Peek left a trace: %d uses, %+v, want %+v", n.uses.Load(), c.Stats(), before)
	}
}

// Of a cache in front of another one, the misses are not counted.
func TestIgnoreMisses(t *testing.T) {
	for _, ignore := range []bool{false, true} {
		c := config
		c.IgnoreMisses = ignore
		cache := New[string](c)
		checkMiss(t, cache, 0, key("a"))
		cache.Put(0, key("a"), positive("1", time.Minute))
		cache.Get(0, key("a"))
		if s := cache.Stats(); (s.Misses == 0) != ignore || s.Hits != 1 {
			t.Errorf("IgnoreMisses %t: %+v", ignore, s)
		}
	}
}
