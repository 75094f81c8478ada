package dnscache

import (
	"math/bits"
	"time"
)

const (
	// probationPart is the part of the cache's limits from which on the entries on probation are
	// evicted before the others.
	probationPart = 10
	// maxReprieves is how many used entries eviction passes over before it evicts a used one, so
	// that no Put has to look at the whole cache.
	maxReprieves = 256
)

// eviction decides which entries leave a full cache. It is S3-FIFO (Yang et al., SOSP 2023): a new
// entry is on probation, in a queue of a tenth of the cache. At its end an entry that was used
// moves to the main queue, and another leaves the cache. So a scan of many names that are used once
// displaces only entries on probation. The main queue is a clock: a used entry goes round again. An
// entry that left probation and is stored again soon (ghosts) starts in the main queue, or names
// that recur at intervals longer than probation would never get there. Hits only count (node.use),
// they move nothing: so they need no lock.
//
// The cache's mutex guards it.
type eviction[V any] struct {
	maxEntries, maxBytes int
	probation, main      queue[V]
	ghosts               []ghosts // their number is a power of 2
}

func (e *eviction[V]) init(maxEntries, maxBytes int) {
	e.maxEntries, e.maxBytes = maxEntries, maxBytes
	e.ghosts = make([]ghosts, 1<<bits.Len(uint((maxEntries-1)/(ghostWays/2))))
}

func (e *eviction[V]) size() (entries, bytes int) {
	return e.probation.entries + e.main.entries, e.probation.bytes + e.main.bytes
}

func (e *eviction[V]) exceeded() bool {
	entries, bytes := e.size()
	return entries > e.maxEntries || bytes > e.maxBytes
}

// add begins to track a new entry.
func (e *eviction[V]) add(n *node[V]) {
	if e.ghostsOf(n).forget(fingerprint(n.hash)) {
		e.main.push(n)
	} else {
		e.probation.push(n)
	}
}

// replace tracks n in place of old. It inherits the uses: refreshing a popular name does not make
// it less so.
func (e *eviction[V]) replace(old, n *node[V]) {
	q := old.queue
	q.remove(old)
	n.uses.Store(old.uses.Load())
	q.push(n)
}

func (e *eviction[V]) remove(n *node[V]) { n.queue.remove(n) }

// next removes and returns the entry to evict, which is not newest: a resolver that has just got an
// answer expects to find it. The limits must be exceeded, hence there are others, as one entry is a
// small part of MaxBytes.
func (e *eviction[V]) next(now time.Duration, newest *node[V]) *node[V] {
	for reprieves := 0; ; reprieves++ {
		q := e.queueToEvict(newest)
		n := q.oldest
		q.remove(n)
		uses := n.uses.Load()
		switch {
		case n == newest:
			q.push(n)
		case now >= n.removable || reprieves >= maxReprieves:
			return n
		case uses > 0: // moves from probation to the main queue, or goes round in that
			n.uses.Store(uses - 1)
			e.main.push(n)
		default:
			if q == &e.probation {
				e.ghostsOf(n).remember(fingerprint(n.hash))
			}
			return n
		}
	}
}

// queueToEvict returns the queue from which an entry other than newest must leave.
func (e *eviction[V]) queueToEvict(newest *node[V]) *queue[V] {
	p := &e.probation
	long := p.entries > e.maxEntries/probationPart || p.bytes > e.maxBytes/probationPart
	switch {
	case p.hasOthers(newest) && (long || !e.main.hasOthers(newest)):
		return p
	case e.main.hasOthers(newest):
		return &e.main
	}
	panic("dnscache: one entry exceeds the limits of the cache")
}

// ghosts are the fingerprints of the last ghostWays entries that left probation unused and whose hashes share this slot, the
// newest first; 0 stands for no entry.
// One instead of ghostWays would not do: of two names that take turns to leave and to come, each would remove the
// other's, and none of them would ever get to the main queue. There is room for twice as many as there are entries, so
// few have to leave.
type ghosts [ghostWays]uint32

const ghostWays = 4

func (e *eviction[V]) ghostsOf(n *node[V]) *ghosts { return &e.ghosts[n.hash&uint64(len(e.ghosts)-1)] }

// fingerprint returns the bits of a hash that do not choose the ghosts. It is not 0.
func fingerprint(hash uint64) uint32 { return uint32(hash>>32) | 1 }

func (g *ghosts) remember(fingerprint uint32) {
	copy(g[1:], g[:])
	g[0] = fingerprint
}

// forget removes a fingerprint, and reports whether it was there.
func (g *ghosts) forget(fingerprint uint32) bool {
	for i, f := range g {
		if f == fingerprint {
			copy(g[i:], g[i+1:])
			g[ghostWays-1] = 0
			return true
		}
	}
	return false
}

// clear forgets all entries. The ghosts stay: names recur whatever their answers are.
func (e *eviction[V]) clear() { e.probation, e.main = queue[V]{}, queue[V]{} }

// A queue has entries in the order in which they were pushed.
type queue[V any] struct {
	oldest, newest *node[V]
	entries, bytes int
}

// hasOthers reports whether q has entries besides n.
func (q *queue[V]) hasOthers(n *node[V]) bool {
	return q.oldest != nil && (q.oldest != n || q.newest != n)
}

func (q *queue[V]) push(n *node[V]) {
	n.queue, n.older, n.newer = q, q.newest, nil
	if q.newest == nil {
		q.oldest = n
	} else {
		q.newest.newer = n
	}
	q.newest = n
	q.entries++
	q.bytes += n.bytes
}

func (q *queue[V]) remove(n *node[V]) {
	if n.queue != q {
		panic("dnscache: an entry is not in its queue")
	}
	if n.older == nil {
		q.oldest = n.newer
	} else {
		n.older.newer = n.newer
	}
	if n.newer == nil {
		q.newest = n.older
	} else {
		n.newer.older = n.older
	}
	n.queue, n.older, n.newer = nil, nil, nil
	q.entries--
	q.bytes -= n.bytes
}
