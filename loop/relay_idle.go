package loop

import (
	"time"

	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/wheel"
)

// idleSamples is how often in an IdleTimeout a relay is sampled: it may last longer by one
// sample.
const idleSamples = 4

// relayIdle is the idle timeout of a relay. Moving bytes costs it nothing: a timer compares
// samples. It belongs to the loop of connection a, and all times are on that loop's clock.
type relayIdle struct {
	timer wheel.Timer
	last  relaySample
	since int64 // when last was taken first
}

// relaySample changes when bytes have moved.
type relaySample struct {
	forwarded    int64 // bytes received and written, in both directions
	heldA, heldB int   // bytes that are unsent or not acknowledged
}

func (r *relay) sample() relaySample {
	return relaySample{
		forwarded: r.a.out.forwarded.Load() + r.b.out.forwarded.Load(),
		heldA:     r.a.conn.held(), heldB: r.b.conn.held(),
	}
}

// held returns how many bytes the loop and, where the system reports it, the kernel hold for the
// peer.
func (c *Conn) held() int {
	n, _ := stream.Of(&c.stream).UnackedBytes()
	return n + c.Unsent()
}

func (i *relayIdle) start(r *relay) {
	if r.config.IdleTimeout == 0 || r.a.conn.phase.gone() {
		return
	}
	l := r.a.conn.loop
	i.last, i.since = r.sample(), l.clock()
	i.timer.Fire = func(*wheel.Timer) { i.tick(r) }
	l.timers.Start(&i.timer, later(i.since, i.interval(r)))
}

func (i *relayIdle) interval(r *relay) time.Duration {
	return max(r.config.IdleTimeout/idleSamples, 1)
}

func (i *relayIdle) stop(r *relay) { r.a.conn.loop.timers.Stop(&i.timer) }

func (i *relayIdle) tick(r *relay) {
	l := r.a.conn.loop
	now := l.clock()
	if s := r.sample(); s != i.last {
		i.last, i.since = s, now
	}
	end := later(i.since, r.config.IdleTimeout)
	if end <= now {
		r.timedOut()
		return
	}
	l.timers.Start(&i.timer, min(end, later(now, i.interval(r))))
}

// timedOut ends both connections at the idle timeout, on the loop of a.
func (r *relay) timedOut() {
	r.mu.Lock()
	if r.err == nil {
		r.err = ErrTimeout
	}
	r.mu.Unlock()
	a, b := r.a.conn, r.b.conn
	b.loop.putEnd(func() { b.fail(ErrTimeout) })
	a.fail(ErrTimeout)
}
