package netconn

import (
	"math"
	"sync"
	"time"

	"github.com/pollux-io/pollux/internal/wheel"
	"github.com/pollux-io/pollux/loop"
)

// parkAfter is the time between two sweeps. A ReadOrPark that two sweeps have found waiting is parked: after one to two
// times as long. So busy connections cost a sweep a look each, and a request no timer.
const parkAfter = 100 * time.Millisecond

// sweepConns is how many candidates one function of the loop visits; the rest of a sweep is for the next turns, so that
// connections are served in between.
const sweepConns = 256

// expireConns is how many parked connections one function of the loop closes at their deadline.
const expireConns = 256

// keptCandidates is the capacity that an empty list of candidates keeps.
const keptCandidates = 1024

// A parker parks the connections of a Listener that belong to one loop. Its lists have at most one entry for each connection.
type parker struct {
	l    *Listener
	loop *loop.Loop

	// Accessed by the loop only.
	rest      []*Conn      // candidates that the sweep in progress has not visited
	kept      []*Conn      // of one function of the sweep: candidates for the next one
	deadlines *wheel.Wheel // of the parked connections; its clock is the time since began
	began     time.Time    // on the clock of package time, as deadlines of a Conn are
	expiry    *loop.Timer  // nil until a connection with a deadline is parked
	expiresAt int64        // when expiry fires, on the clock of deadlines; math.MaxInt64: it does not run

	mu         sync.Mutex  // may be locked while the mu of a Conn or Listener is held, not the reverse
	timer      *loop.Timer // of the next sweep
	swept      bool        // a sweep is scheduled or in progress
	candidates []*Conn     // for the next sweep
	first      *parked     // the parked connections
	count      int         // of them
	closed     bool        // the listener is: nothing more is parked
}

// parkerOf returns the parker of the connections of x, or nil if the listener is closed.
func (l *Listener) parkerOf(x *loop.Loop) *parker {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	if l.parkers == nil {
		for _, x := range l.g.Loops() {
			l.parkers = append(l.parkers, &parker{l: l, loop: x, deadlines: wheel.New(0), began: time.Now()})
		}
	}
	return l.parkers[x.Index()]
}

// Parked returns how many connections are parked at present: see Conn.ReadOrPark.
func (l *Listener) Parked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, p := range l.parkers {
		p.mu.Lock()
		n += p.count
		p.mu.Unlock()
	}
	return n
}

// closeParkedLocked closes the parked connections, which have no other owner than the listener, and parks no more. l.mu must be
// held, and l.closed be set.
func (l *Listener) closeParkedLocked() {
	for _, p := range l.parkers {
		p.close()
	}
}

func (p *parker) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for k := p.first; k != nil; k = p.first {
		p.unlinkLocked(k)
		k.raw.Close()
	}
}

// list adds a candidate.
func (p *parker) list(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.candidates = append(p.candidates, c)
	if p.swept {
		return
	}
	p.swept = true
	if p.timer == nil {
		p.timer = p.loop.AfterFunc(parkAfter, p.sweep)
		return
	}
	p.timer.Reset(parkAfter)
}

// sweep visits candidates, on the loop: all of them in as many turns as it takes, every parkAfter while there are any.
func (p *parker) sweep() {
	if len(p.rest) == 0 {
		p.mu.Lock()
		p.rest, p.candidates = p.candidates, p.rest[:0]
		p.mu.Unlock()
	}
	for range min(len(p.rest), sweepConns) {
		last := len(p.rest) - 1
		c := p.rest[last]
		p.rest[last], p.rest = nil, p.rest[:last]
		if c.visit() {
			p.kept = append(p.kept, c)
		}
	}
	p.scheduleSweep()
}

// scheduleSweep keeps the candidates of kept for the next sweep, and schedules the rest of this one, or the next.
func (p *parker) scheduleSweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.candidates = append(p.candidates, p.kept...)
	clear(p.kept)
	p.kept = p.kept[:0]
	switch {
	case len(p.rest) > 0:
		p.timer.Reset(0)
	case len(p.candidates) > 0 && !p.closed:
		p.timer.Reset(parkAfter)
	default:
		p.swept = false
		if p.closed || cap(p.candidates)+cap(p.rest) > keptCandidates {
			p.candidates, p.rest = nil, nil
		}
	}
}

// keep adds a connection that is being parked until deadline; the zero Time means none. It returns false, without any effect, if
// the listener is closed. Only the loop may call it.
func (p *parker) keep(k *parked, deadline time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	if k.next = p.first; k.next != nil {
		k.next.prev = k
	}
	p.first, k.listed = k, true
	p.count++
	if !deadline.IsZero() {
		k.timer.Fire = func(*wheel.Timer) { k.close() }
		p.deadlines.Start(&k.timer, int64(deadline.Sub(p.began)))
		p.scheduleDeadlines()
	}
	return true
}

// drop removes a connection that is woken or closed, unless that has been done. Only the loop may call it.
func (p *parker) drop(k *parked) {
	p.deadlines.Stop(&k.timer)
	p.mu.Lock()
	defer p.mu.Unlock()
	if k.listed {
		p.unlinkLocked(k)
	}
}

func (p *parker) unlinkLocked(k *parked) {
	if k.prev != nil {
		k.prev.next = k.next
	} else {
		p.first = k.next
	}
	if k.next != nil {
		k.next.prev = k.prev
	}
	k.next, k.prev, k.listed = nil, nil, false
	p.count--
}

// scheduleDeadlines makes expire run at the first deadline. It is called when that may have become earlier, and by expire: after
// a deadline has been removed, expire may run for nothing, once.
func (p *parker) scheduleDeadlines() {
	at, ok := p.deadlines.Next()
	if !ok || p.expiry != nil && p.expiresAt <= at {
		return
	}
	p.expiresAt = at
	d := max(time.Duration(at)-time.Since(p.began), 0)
	if p.expiry == nil {
		p.expiry = p.loop.AfterFunc(d, p.expire)
		return
	}
	p.expiry.Reset(d)
}

// expire closes the connections whose deadlines have passed, on the loop: expireConns at a time.
func (p *parker) expire() {
	p.expiresAt = math.MaxInt64
	p.deadlines.Advance(int64(time.Since(p.began)), expireConns)
	p.scheduleDeadlines() // for the rest at once
}
