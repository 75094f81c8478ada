package admission

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const plenty = 1 << 20 // descriptors

// After errors, accepting is retried with back-off, which begins anew after a connection.
func TestBackoff(t *testing.T) {
	w := newWorld(t, &Limits{}, plenty, 0)
	s := w.sockets[0]
	for range 2 {
		s.backlog = 1
		for i, wait := 0, minBackoff; i < 12; i, wait = i+1, min(2*wait, maxBackoff) {
			s.failure = true
			w.settle()
			if !s.paused || s.retryAt != w.now+wait {
				t.Fatalf("after an error: paused = %t, retry after %v, want true, %v", s.paused, s.retryAt-w.now, wait)
			}
			w.pass(wait - 1)
			if !s.paused {
				t.Fatalf("accepting was retried before %v", wait)
			}
			w.now++
			w.turn() // Retry
			if s.paused {
				t.Fatalf("accepting was not retried after %v", wait)
			}
		}
		w.settle()
		w.checkOrder(0) // which ends the back-off
	}
}

// Above MaxConns connections stay in the backlog, and the socket is paused; when a connection
// ends, the next one is accepted, without waiting for a timer.
func TestPausesAtMaxConns(t *testing.T) {
	w := newWorld(t, &Limits{MaxConns: 2}, plenty, 5)
	s := w.sockets[0]
	w.settle()
	for left := 3; ; left-- {
		if s.open != 2 || s.backlog != left || !s.paused || s.pending != 0 {
			t.Fatalf("%d open, %d in the backlog, %d pending, paused = %t, want 2, %d, 0, true", s.open, s.backlog, s.pending, s.paused, left)
		}
		if left == 0 {
			break
		}
		s.hangUp()
		w.settle()
	}
	s.hangUp()
	w.settle()
	if s.paused {
		t.Error("the socket is paused below MaxConns")
	}
}

// Connections that the driver accepts before it can be paused wait, and are admitted first.
func TestPendingConnections(t *testing.T) {
	w := newWorld(t, &Limits{MaxConns: 1}, plenty, 6)
	s := w.sockets[0]
	s.ahead = 3
	w.turn()
	s.ahead = 0
	if s.open != 1 || s.pending != 3 || s.backlog != 2 {
		t.Fatalf("%d open, %d pending, %d in the backlog, want 1, 3, 2", s.open, s.pending, s.backlog)
	}
	for _, want := range []struct{ pending, backlog int }{{2, 2}, {1, 2}, {0, 2}, {0, 1}, {0, 0}} {
		s.hangUp()
		w.settle()
		if s.open != 1 || s.pending != want.pending || s.backlog != want.backlog {
			t.Fatalf("%d open, %d pending, %d in the backlog, want 1, %d, %d", s.open, s.pending, s.backlog, want.pending, want.backlog)
		}
	}
}

// With RefuseAbove, connections above MaxConns are refused, and the socket goes on.
func TestRefuseAbove(t *testing.T) {
	w := newWorld(t, &Limits{MaxConns: 2, RefuseAbove: true}, plenty, 5)
	s := w.sockets[0]
	w.settle()
	if s.open != 2 || s.refused != 3 || s.paused {
		t.Errorf("%d open, %d refused, paused = %t, want 2, 3, false", s.open, s.refused, s.paused)
	}
	s.hangUp()
	s.backlog = 2
	w.settle()
	if s.open != 2 || s.refused != 4 {
		t.Errorf("%d open, %d refused, want 2, 4", s.open, s.refused)
	}
}

// Sockets that wait take turns, on loops of their own or on one, also if the driver has accepted
// connections that wait.
func TestTurns(t *testing.T) {
	for _, scarce := range []string{"slots", "descriptors"} {
		for _, oneLoop := range []bool{true, false} {
			for _, ahead := range []int{0, 3} {
				t.Run(fmt.Sprint(scarce, " one loop ", oneLoop, " ahead ", ahead), func(t *testing.T) {
					limits, descriptors := &Limits{MaxConns: 1}, plenty
					if scarce == "descriptors" {
						limits, descriptors = &Limits{}, 1
					}
					const clients = 20
					w := newWorld(t, limits, descriptors)
					l := w.newLoop()
					for range 3 {
						w.listen(l, clients).ahead = ahead
						if !oneLoop {
							l = w.newLoop()
						}
					}
					w.settle()
					first := w.order()
					if len(first) != 1 {
						t.Fatalf("%d connections were accepted, want 1", len(first))
					}
					last := first[0]
					for i := range 3*clients - 1 {
						w.sockets[last].hangUp()
						w.settle()
						next := w.order()
						if len(next) != 1 {
							t.Fatalf("%d connections were accepted when one had ended, want 1", len(next))
						}
						// The first one was in the queue before the others.
						if s := w.sockets[(last+1)%3]; i > 0 && next[0] == last && s.backlog+s.pending > 0 {
							t.Fatalf("socket %d accepted twice while others waited", last)
						}
						last = next[0]
					}
				})
			}
		}
	}
}

// A grant is passed on by sockets that have nothing to accept, without waiting for a timer.
func TestGrantIsPassedOn(t *testing.T) {
	for _, limits := range []*Limits{{MaxConns: 3}, {}} {
		descriptors := plenty
		if limits.MaxConns == 0 {
			descriptors = 3
		}
		w := newWorld(t, limits, descriptors, 2, 2, 2)
		w.settle()
		w.order()
		for _, s := range w.sockets {
			s.backlog = 0 // the clients have given up
		}
		w.settle()
		last := w.sockets[2]
		last.backlog = 2
		for range 2 {
			for _, s := range w.sockets {
				if s.open > 0 {
					s.hangUp()
					break
				}
			}
			w.settle()
		}
		w.checkOrder(2, 2)
	}
}

// A socket has passOnTurns turns to accept a connection before the grant is passed on.
func TestPassOnTurns(t *testing.T) {
	w := newWorld(t, &Limits{MaxConns: 1}, plenty, 1, 0)
	w.settle()
	w.checkOrder(0) // which is in the queue
	w.sockets[1].backlog = 1
	w.settle() // the second one is in the queue, too
	w.sockets[0].hangUp()
	for range passOnTurns {
		w.turn()
		w.checkOrder()
	}
	w.turn()
	w.checkOrder(1)
}

// With one grant for two free slots, two sockets admit one connection each.
func TestPendingTakeTurns(t *testing.T) {
	w := newWorld(t, &Limits{MaxConns: 2}, plenty, 4, 2)
	w.sockets[0].ahead, w.sockets[1].ahead = 2, 2
	w.settle()
	w.checkOrder(0, 0)
	w.sockets[0].open = 0
	w.descriptors += 2
	w.limits.Uncount()
	w.limits.Release()
	w.settle()
	w.checkOrder(0, 1)
}

// A socket whose grant comes to nothing, because the resource is taken already, remains the first.
func TestVainGrant(t *testing.T) {
	w := newWorld(t, &Limits{MaxConns: 1}, plenty, 2, 1)
	w.settle()
	w.sockets[0].hangUp()
	w.limits.Reserve() // a dial
	w.settle()
	w.limits.Release()
	w.settle()
	w.checkOrder(0, 0)

	w = newWorld(t, &Limits{}, 0, 2, 1)
	w.settle() // in the queue: the second, the first
	for range 2 {
		w.limits.Grant() // but the descriptor is another process's
		w.settle()
	}
	w.descriptors = 1
	w.limits.Grant()
	w.settle()
	w.checkOrder(1)
}

// A slot that is released just before a socket enters the queue is not missed.
func TestReleaseBeforeWaiting(t *testing.T) {
	w := newWorld(t, &Limits{MaxConns: 1}, plenty, 1)
	s := w.sockets[0]
	w.limits.Reserve() // a dial
	s.onPause = func() { w.limits.Release() }
	w.settle()
	w.checkOrder(0)
}

// A socket that is paused at MaxConns leaves the descriptors to those that wait for one.
func TestFullSocketGrantsDescriptors(t *testing.T) {
	w := newWorld(t, &Limits{MaxConns: 1}, 0, 1, 0)
	waiting, full := w.sockets[0], w.sockets[1]
	w.settle()
	w.descriptors = 2
	full.backlog = 1
	w.settle()
	if full.open != 1 || waiting.pending != 1 {
		t.Errorf("%d open, %d pending, want 1 of the one that accepted, 1 of the one that waited", full.open, waiting.pending)
	}
}

// Waiting sockets make a grant periodically, in case a resource has become available unnoticed.
func TestPeriodicGrant(t *testing.T) {
	w := newWorld(t, &Limits{MaxConns: 1}, plenty, 2)
	w.settle()
	w.checkOrder(0)
	w.pass(3 * grantInterval)
	w.sockets[0].open--
	w.limits.Uncount()
	w.settle()
	w.checkOrder()
	w.pass(grantInterval)
	w.checkOrder(0)

	w = newWorld(t, &Limits{}, 0, 1, 0)
	w.settle()
	w.loops[0].inCallback = true // the grant of the second one is lost here
	w.descriptors = 2
	w.sockets[1].backlog = 2
	w.settle()
	w.checkOrder(1)
	w.pass(grantInterval)
	w.checkOrder(1)
}

// A grant is lost on a loop that is in a callback. Then another socket makes one periodically.
func TestLostGrant(t *testing.T) {
	w := newWorld(t, &Limits{MaxConns: 1}, plenty, 1, 1, 1)
	w.settle()
	w.checkOrder(0)
	w.loops[1].inCallback = true
	w.sockets[0].hangUp()
	w.settle()
	w.checkOrder()
	w.pass(grantInterval)
	w.checkOrder(2)
	w.sockets[2].hangUp()
	w.settle()
	w.loops[1].inCallback = false
	w.settle()
	w.checkOrder(1)
}

// A grant to a closed socket, or one whose loop has ended, goes to the next.
func TestGrantToAClosedSocket(t *testing.T) {
	for _, limits := range []*Limits{{MaxConns: 1}, {}} {
		descriptors := plenty
		if limits.MaxConns == 0 {
			descriptors = 1
		}
		w := newWorld(t, limits, descriptors, 1, 1, 1, 1, 1)
		w.settle()
		w.checkOrder(0)
		w.sockets[0].close()
		q := &w.limits.slotWaiters
		if limits.MaxConns == 0 {
			q = &w.limits.descriptorWaiters
		}
		var waiting []*fakeSocket
		for _, a := range q.waiting {
			waiting = append(waiting, a.host.(*fakeSocket))
		}
		if len(waiting) != 4 {
			t.Fatalf("%d sockets wait, want 4", len(waiting))
		}
		waiting[0].loop.ended = true
		waiting[1].close() // before the grant
		w.sockets[0].hangUp()
		waiting[2].close() // after the grant
		w.settle()
		w.checkOrder(slices.Index(w.sockets, waiting[3]))
	}
}

// When enough connections have been accepted without a failure, descriptors are no longer scarce:
// all sockets are resumed.
func TestResumeAll(t *testing.T) {
	w := newWorld(t, &Limits{}, 0, 1000, 1000)
	w.settle()
	w.checkOrder()
	w.descriptors = plenty
	w.pass(grantInterval)
	for range resumeAllAfter {
		w.turn()
	}
	for i, s := range w.sockets {
		if s.backlog > 0 || s.paused {
			t.Errorf("socket %d: %d in the backlog, paused = %t, want 0, false", i, s.backlog, s.paused)
		}
	}
}

// A failure shows that descriptors are still scarce.
func TestFailureResetsTaken(t *testing.T) {
	w := newWorld(t, &Limits{}, 0, 1000, 1000)
	w.settle()
	for range 3 {
		w.descriptors = resumeAllAfter - 8
		w.limits.Grant()
		for range 2 * resumeAllAfter {
			w.turn()
		}
		if n := w.limits.descriptorWaiters.n.Load(); n != 2 || w.descriptors != 0 {
			t.Fatalf("%d sockets wait, with %d descriptors free, want 2, 0", n, w.descriptors)
		}
		by := w.order()
		for i := range by[1:] {
			if by[i] == by[i+1] {
				t.Fatalf("socket %d accepted twice while the other one waited", by[i])
			}
		}
	}
}

// A socket that waits for several reasons accepts when the last one has gone.
func TestSeveralReasons(t *testing.T) {
	w := newWorld(t, &Limits{MaxConns: 1}, 1, 3)
	s := w.sockets[0]
	w.settle() // full
	s.hangUp()
	w.descriptors = 0
	w.settle() // starved
	if !s.paused || s.policy.full || !s.policy.starved {
		t.Fatalf("paused = %t, full = %t, starved = %t, want true, false, true", s.paused, s.policy.full, s.policy.starved)
	}
	w.limits.Reserve() // a dial
	w.descriptors = 1
	w.pass(grantInterval)
	if s.open != 0 || s.pending != 1 || !s.policy.full {
		t.Errorf("%d open, %d pending, full = %t, want 0, 1, true", s.open, s.pending, s.policy.full)
	}
	w.limits.Release()
	w.settle()
	if s.open != 1 || s.pending != 0 || s.backlog != 1 {
		t.Errorf("%d open, %d pending, %d in the backlog, want 1, 0, 1", s.open, s.pending, s.backlog)
	}
}

// As long as no loop is in a callback and nothing but the group uses descriptors, no timer is needed:
// nobody waits who could be served, and a closed socket waits for nothing.
func TestRandomCalmWorlds(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testRandomCalmWorld(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func testRandomCalmWorld(t *testing.T, r *rand.Rand) {
	limits, descriptors := &Limits{MaxConns: 1 + r.IntN(4)}, plenty
	if r.IntN(2) == 0 {
		limits, descriptors = &Limits{}, r.IntN(4)
	}
	w := newWorld(t, limits, descriptors)
	for range 1 + r.IntN(3) {
		w.newLoop()
	}
	for range 1 + r.IntN(4) {
		w.listen(w.loops[r.IntN(len(w.loops))], r.IntN(4)).ahead = r.IntN(3)
	}
	for range 200 {
		s := w.sockets[r.IntN(len(w.sockets))]
		switch {
		case s.policy.Closed():
		case r.IntN(3) == 0:
			s.backlog += r.IntN(3)
		case r.IntN(60) == 0:
			s.close()
		}
		if s.open > 0 && r.IntN(2) == 0 {
			s.hangUp()
		}
		if r.IntN(2) == 0 {
			w.turn()
			continue
		}
		for range 4 {
			w.settle()
		}
		for i, s := range w.sockets {
			if s.backlog+s.pending > 0 && w.limits.hasSlot() && w.descriptors > 0 {
				t.Fatalf("%d clients of socket %d wait with %d connections open, MaxConns %d and %d descriptors free",
					s.backlog+s.pending, i, w.limits.Conns(), w.limits.MaxConns, w.descriptors)
			}
			for _, q := range []*queue{&w.limits.slotWaiters, &w.limits.descriptorWaiters} {
				if s.policy.Closed() && slices.Contains(q.waiting, s.policy) {
					t.Fatalf("socket %d is closed and in a queue", i)
				}
			}
		}
	}
}

// Whatever happens, MaxConns is not exceeded, and nobody waits who could be served.
func TestRandomWorlds(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testRandomWorld(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func testRandomWorld(t *testing.T, r *rand.Rand) {
	w := newWorld(t, &Limits{MaxConns: r.IntN(5), RefuseAbove: r.IntN(8) == 0}, 1+r.IntN(5))
	for range 1 + r.IntN(3) {
		w.newLoop()
	}
	for range 1 + r.IntN(4) {
		w.listen(w.loops[r.IntN(len(w.loops))], r.IntN(4)).ahead = r.IntN(3)
	}
	for range 200 {
		s := w.sockets[r.IntN(len(w.sockets))]
		switch r.IntN(9) {
		case 0, 1:
			if !s.policy.Closed() {
				s.backlog += r.IntN(3)
			}
		case 2:
			if s.open > 0 {
				s.hangUp()
			}
		case 3:
			s.failure = true
		case 4:
			s.loop.inCallback = !s.loop.inCallback
		case 5:
			w.pass(time.Duration(r.Int64N(int64(2 * grantInterval))))
		case 6:
			if r.IntN(20) == 0 && !s.policy.Closed() {
				s.close()
			}
		case 7:
			if !s.policy.Closed() {
				s.policy.SetPaused(r.IntN(2) == 0)
			}
		default:
			w.turn()
		}
	}
	for _, l := range w.loops {
		l.inCallback = false
	}
	for _, s := range w.sockets {
		s.failure = false
		s.policy.SetPaused(false)
	}
	w.pass(maxBackoff)   // the last retry after an error
	for range 10 * 200 { // all clients are served in the end
		w.settle()
		w.pass(grantInterval)
		waiting, open := 0, 0
		for _, s := range w.sockets {
			waiting += s.backlog + s.pending
			open += s.open
		}
		if waiting == 0 {
			return
		}
		if w.limits.hasSlot() && w.descriptors > 0 {
			t.Fatalf("%d clients wait with %d connections open, MaxConns %d and %d descriptors free", waiting, open, w.limits.MaxConns, w.descriptors)
		}
		for _, s := range w.sockets {
			if s.open > 0 {
				s.hangUp()
				break
			}
		}
	}
	t.Error("the clients were not served")
}

// A socket that SetPaused has paused accepts nothing, whatever it is granted, and others are granted
// what it does not take.
func TestSetPaused(t *testing.T) {
	w := newWorld(t, &Limits{MaxConns: 2}, 10, 3, 0)
	first, second := w.sockets[0], w.sockets[1]
	w.settle()
	w.checkOrder(0, 0) // it is full
	first.policy.SetPaused(true)
	first.hangUp()
	w.pass(2 * grantInterval)
	w.checkOrder()
	second.backlog = 1
	w.pass(2 * grantInterval)
	w.checkOrder(1)
	second.hangUp()
	first.policy.SetPaused(false)
	w.pass(2 * grantInterval)
	w.checkOrder(0)
}
