package tlsengine

import (
	"runtime"
	"sync"
	"time"
)

const (
	// DefaultMaxInProgress is the MaxInProgress of PoolConfig by default. A handshake holds about 23 KB.
	DefaultMaxInProgress = 1024
	// DefaultMaxQueued is the MaxQueued of PoolConfig by default. A queued handshake holds its ClientHello.
	DefaultMaxQueued = 16384
	// StallGrace is how long a handshake may wait for its peer before it can be ended in favor of a queued one. It
	// is more than a round trip to the far side of the Earth, and less than a second.
	StallGrace = 500 * time.Millisecond
)

// PoolConfig is for NewPool. 0 stands for a default.
type PoolConfig struct {
	// Workers is how many handshakes compute at once, GOMAXPROCS by default. More would delay the loops, which run
	// on the same processors.
	Workers int
	// MaxInProgress bounds the handshakes that have a goroutine, those that wait for their peer included.
	MaxInProgress int
	// MaxQueued bounds the handshakes that wait for their turn.
	MaxQueued int
}

// A Pool bounds what handshakes cost. Computing is bounded by workers, which a handshake holds except while it waits
// for its peer: so silent peers hold none. Handshakes in progress are bounded, too. If there are too many, further
// ones are queued, and those whose peer has been silent for StallGrace are ended in their favor, the longest silent
// first. So peers that stall cannot keep others from their handshakes, however many they are.
//
// Its methods are safe from any goroutine. A Pool that was created in a bubble of testing/synctest belongs to it.
type Pool struct {
	workers              chan struct{} // one element for each handshake that computes; the runtime serves senders in order
	maxActive, maxQueued int

	mu      sync.Mutex
	active  int  // handshakes with a goroutine, evicted ones excepted
	waiting list // those of them that wait for their peer, the longest first
	queued  list
	timer   *time.Timer // until the first in waiting can be evicted; nil unless armed
	evicted uint64
	refused uint64
}

// PoolStats is a state of a Pool, and its counters since its creation.
type PoolStats struct {
	InProgress int // handshakes that compute or wait for their peer
	Waiting    int // those of them that wait for their peer
	Queued     int
	Evicted    uint64 // ended with ErrHandshakeEvicted
	Refused    uint64 // not begun: ErrTooManyHandshakes
}

// NewPool returns an idle Pool. It has no goroutine of its own, and need not be closed.
func NewPool(c PoolConfig) *Pool {
	orDefault := func(n, d int) int {
		if n <= 0 {
			return d
		}
		return n
	}
	return &Pool{
		workers:   make(chan struct{}, orDefault(c.Workers, runtime.GOMAXPROCS(0))),
		maxActive: orDefault(c.MaxInProgress, DefaultMaxInProgress),
		maxQueued: orDefault(c.MaxQueued, DefaultMaxQueued),
	}
}

// Stats returns the current state.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return PoolStats{InProgress: p.active, Waiting: p.waiting.n, Queued: p.queued.n, Evicted: p.evicted, Refused: p.refused}
}

// place is where a handshake is in its Pool, and guarded by the Pool's mu.
type place struct {
	state      placeState
	since      time.Time // with waiting
	prev, next *handshake
	worker     bool // used by the handshake's goroutine only
}

type placeState uint8

const (
	outside placeState = iota
	queued
	computing // or about to
	waiting
	evicted // the goroutine ends soon, and is not counted any more
)

// start begins h now or later.
func (p *Pool) start(h *handshake) error {
	p.mu.Lock()
	if p.active < p.maxActive {
		p.beginLocked(h)
		p.mu.Unlock()
		return nil
	}
	if p.queued.n >= p.maxQueued {
		p.refused++
		p.mu.Unlock()
		return ErrTooManyHandshakes
	}
	h.place.state = queued
	p.queued.push(h)
	p.evictAndUnlock()
	return nil
}

func (p *Pool) beginLocked(h *handshake) {
	h.place.state = computing
	p.active++
	go h.run()
}

// evictAndUnlock ends silent handshakes while others are queued, and arms the timer if there will be more to end.
func (p *Pool) evictAndUnlock() {
	var silent []*handshake
	now := time.Now()
	for p.queued.n > 0 && p.waiting.n > 0 {
		h := p.waiting.first
		if left := StallGrace - now.Sub(h.place.since); left > 0 {
			if p.timer == nil {
				p.timer = time.AfterFunc(left, p.graceOver)
			}
			break
		}
		p.waiting.remove(h)
		h.place.state = evicted
		p.evicted++
		p.active--
		silent = append(silent, h)
		p.beginNextLocked()
	}
	p.mu.Unlock()
	for _, h := range silent {
		h.end(ErrHandshakeEvicted)
	}
}

func (p *Pool) graceOver() {
	p.mu.Lock()
	p.timer = nil
	p.evictAndUnlock()
}

func (p *Pool) beginNextLocked() {
	if h := p.queued.first; h != nil && p.active < p.maxActive {
		p.queued.remove(h)
		p.beginLocked(h)
	}
}

// compute reserves a worker for h, and wait releases it: h waits for its peer.
func (p *Pool) compute(h *handshake) {
	p.mu.Lock()
	if h.place.state == waiting {
		p.waiting.remove(h)
		h.place.state = computing
	}
	p.mu.Unlock()
	p.workers <- struct{}{}
	h.place.worker = true
}

func (p *Pool) wait(h *handshake) {
	p.releaseWorker(h)
	p.mu.Lock()
	if h.place.state != computing {
		p.mu.Unlock()
		return
	}
	h.place.state, h.place.since = waiting, time.Now()
	p.waiting.push(h)
	p.evictAndUnlock()
}

func (p *Pool) releaseWorker(h *handshake) {
	if h.place.worker {
		h.place.worker = false
		<-p.workers
	}
}

// forget takes a handshake that has ended early out of the queue.
func (p *Pool) forget(h *handshake) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.place.state == queued {
		p.queued.remove(h)
		h.place.state = outside
	}
}

// leave is the end of a handshake's goroutine.
func (p *Pool) leave(h *handshake) {
	p.releaseWorker(h)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch h.place.state {
	case waiting:
		p.waiting.remove(h)
		p.active--
	case computing:
		p.active--
	}
	h.place.state = outside
	p.beginNextLocked()
}

// list is a queue of handshakes, linked by their place. Its zero value is empty.
type list struct {
	first, last *handshake
	n           int
}

func (l *list) push(h *handshake) {
	h.place.prev, h.place.next = l.last, nil
	if l.last == nil {
		l.first = h
	} else {
		l.last.place.next = h
	}
	l.last = h
	l.n++
}

func (l *list) remove(h *handshake) {
	prev, next := h.place.prev, h.place.next
	if prev == nil {
		l.first = next
	} else {
		prev.place.next = next
	}
	if next == nil {
		l.last = prev
	} else {
		next.place.prev = prev
	}
	h.place.prev, h.place.next = nil, nil
	l.n--
}
