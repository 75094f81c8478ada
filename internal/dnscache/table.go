package dnscache

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
	"time"
)

// maxUses is the limit of node.uses: how often a used entry is passed over when one is evicted.
const maxUses = 3

// A node is an entry of the cache. What is not atomic does not change once the node is in the table,
// except for what the eviction's mutex guards.
type node[V any] struct {
	key       Key // the name in lower case
	hash      uint64
	value     V
	expires   time.Duration // end of the TTL
	removable time.Duration // from when it is not returned any more; expires, or later if stale answers are kept
	bytes     int

	chain   atomic.Pointer[node[V]] // next in the bucket
	uses    atomic.Uint32           // hits, up to maxUses, less those that eviction has consumed
	recheck atomic.Int64            // time, as a time.Duration, of the next refresh once stale

	older, newer *node[V] // in the queue; guarded by the cache's mutex
	queue        *queue[V]
}

// hit returns what the entry answers at the time now, before it is removable.
func (n *node[V]) hit(now time.Duration) Hit[V] {
	if now < n.expires {
		return Hit[V]{Value: n.value, TTL: n.expires - now}
	}
	return Hit[V]{Value: n.value, TTL: StaleTTL, Stale: true, Refresh: int64(now) >= n.recheck.Load()}
}

// use counts a hit. Two uses at a time may count as one: eviction is a heuristic, and an atomic
// increment would make every hit of a popular name write to a shared cache line.
func (n *node[V]) use() {
	if u := n.uses.Load(); u < maxUses {
		n.uses.Store(u + 1)
	}
}

// A table is a hash table that is read without a lock. Its changes are serialised by the cache's
// mutex. The invariant: at any moment every entry is reachable from its bucket, and a node that was
// removed still leads to what followed it, so a reader that stands on it goes on; the collector
// frees it after the last reader. The number of buckets is fixed, since moving nodes to other
// buckets would make concurrent readers miss them.
type table[V any] struct {
	seed    maphash.Seed // so that senders of names cannot choose those that collide
	buckets []atomic.Pointer[node[V]]
}

// init makes a power of two of buckets, at least one for each entry.
func (t *table[V]) init(entries int) {
	t.seed = maphash.MakeSeed()
	t.buckets = make([]atomic.Pointer[node[V]], 1<<bits.Len(uint(entries-1)))
}

func (t *table[V]) bucket(hash uint64) *atomic.Pointer[node[V]] {
	return &t.buckets[hash&uint64(len(t.buckets)-1)]
}

// hash returns the hash of a key whose name is in lower case.
func (t *table[V]) hash(k Key) uint64 { return maphash.String(t.seed, k.Name) + k.number() }

// number spreads type and epoch over a word, to be added to the hash of the name.
func (k Key) number() uint64 {
	const golden = 0x9e3779b97f4a7c15 // 2⁶⁴ divided by the golden ratio
	return (uint64(k.Epoch)<<16 | uint64(k.Type)) * golden
}

// find returns the node of k, or nil. Most names are in lower case already, so it tries k as it is
// before it looks for capital letters.
func (t *table[V]) find(k Key) *node[V] {
	if len(t.buckets) == 0 || len(k.Name) > MaxName {
		return nil
	}
	hash := t.hash(k)
	for n := t.bucket(hash).Load(); n != nil; n = n.chain.Load() {
		if n.hash == hash && n.key == k {
			return n
		}
	}
	if hasUpper(k.Name) {
		return t.findFolded(k)
	}
	return nil
}

// findFolded is find for a name with capital letters.
func (t *table[V]) findFolded(k Key) *node[V] {
	var buffer [MaxName]byte
	name := buffer[:copy(buffer[:], k.Name)]
	fold(name)
	hash := maphash.Bytes(t.seed, name) + k.number()
	for n := t.bucket(hash).Load(); n != nil; n = n.chain.Load() {
		if n.hash == hash && n.key.Type == k.Type && n.key.Epoch == k.Epoch && n.key.Name == string(name) {
			return n
		}
	}
	return nil
}

// insert adds a node whose key is not in the table.
func (t *table[V]) insert(n *node[V]) {
	head := t.bucket(n.hash)
	n.chain.Store(head.Load())
	head.Store(n)
}

// replace puts n in the place of old, which has the same key: a reader finds one or the other.
func (t *table[V]) replace(old, n *node[V]) {
	n.chain.Store(old.chain.Load())
	t.link(old).Store(n)
}

func (t *table[V]) remove(n *node[V]) { t.link(n).Store(n.chain.Load()) }

// link returns the pointer to n, which is in the table.
func (t *table[V]) link(n *node[V]) *atomic.Pointer[node[V]] {
	p := t.bucket(n.hash)
	for q := p.Load(); q != n; q = p.Load() {
		if q == nil {
			panic("dnscache: an entry is not in the table")
		}
		p = &q.chain
	}
	return p
}

func (t *table[V]) clear() {
	for i := range t.buckets {
		t.buckets[i].Store(nil)
	}
}
