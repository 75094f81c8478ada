package dnscache

import (
	"math/rand/v2"
	"sync/atomic"
)

// stripes is how many copies of the counters there are. A power of two.
const stripes = 16

// lookups counts what Get returns. Goroutines on several processors that count in one word spend
// more time on passing its cache line around than on the lookup. So each picks a copy at random.
type lookups [stripes]struct {
	hits, staleHits, misses atomic.Uint64
	_                       [128 - 3*8]byte // no copies on one cache line, nor on two that are prefetched together
}

func (l *lookups) hit()      { l[rand.Uint32()%stripes].hits.Add(1) }
func (l *lookups) hitStale() { l[rand.Uint32()%stripes].staleHits.Add(1) }
func (l *lookups) missed()   { l[rand.Uint32()%stripes].misses.Add(1) }

func (l *lookups) addTo(s *Stats) {
	for i := range l {
		s.Hits += l[i].hits.Load()
		s.StaleHits += l[i].staleHits.Load()
		s.Misses += l[i].misses.Load()
	}
}
