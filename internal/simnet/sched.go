package simnet

import (
	"cmp"
	"slices"
	"time"
)

// The scheduler decides when events of the network happen, and in what order those who wait for them
// run: the loops, and the goroutines that are in a call of a Conn. Each is an Actor.
//
// With package time's clock, one timer runs step, which does what is due at that instant, and lets
// one actor run, chosen by the seed. Then the timer is set to 1 ns later, if another actor can run,
// or to the next event. In a bubble of testing/synctest, time passes only when all its goroutines
// are blocked: so each actor runs alone until it waits again, and the run depends on nothing but the
// seed. Each turn of a loop takes 1 ns of simulated time, at least, so that one which never sleeps
// cannot stop the clock. Outside a bubble it is the same, except that actors run concurrently.
//
// With a clock that the test advances (Config.Manual), actors run as soon as they can, concurrently,
// and time passes in Advance only.

// An Actor is a goroutine that waits for the network.
type Actor struct {
	n *Network
	// number and name are the actor's place in n.runnable. number is that of the host and then, in the
	// order in which those of the host were made, of the actor. It is 0 for those with a name.
	number   uint64
	name     string
	run      chan bool // capacity 1: receives a value when the actor is to run; false: the network is closed
	waiting  bool      // in wait, or about to block there
	runnable bool      // is in n.runnable
	since    int64     // when it became runnable, or wokenByStep
	woken    bool      // while it was not waiting
	running  bool      // from the end of a wait until the next one, or Done
	// timeout ends a Wait. It stays scheduled while the actor runs, as a loop's next Wait mostly ends at the
	// same time; Done cancels it.
	timeout event
}

// NewActor returns an actor, which must be used by one goroutine at a time.
func (n *Network) NewActor() *Actor {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.actors++
	return n.makeActor(n.actors, "")
}

// NewActor is Network.NewActor for a goroutine that uses the host.
func (h *Host) NewActor() *Actor {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	return h.newActorLocked()
}

// newActorLocked numbers the actor by its host: goroutines that use different hosts may run at the same
// time before they wait for the first time.
func (h *Host) newActorLocked() *Actor {
	h.actors++
	return h.n.makeActor(uint64(h.number)<<32|uint64(h.actors), "")
}

// takeTurn waits until the scheduler lets a call run that makes actors, so that their numbers do not
// depend on which of several goroutines comes first. Calls with the same name are in any order.
func (n *Network) takeTurn(name string) {
	a := n.makeActor(0, name)
	a.Wait(0)
	a.Done()
}

func (n *Network) makeActor(number uint64, name string) *Actor {
	a := &Actor{n: n, number: number, name: name, run: make(chan bool, 1)}
	a.timeout = event{index: noIndex, do: a.timeoutLocked}
	return a
}

// Wait waits until Wake was called since the last Wait has returned, or the timeout has passed:
// forever if it is negative. With zero it only lets other actors run. It reports whether the network is
// open; once it is closed, Wait does not wait any more.
func (a *Actor) Wait(timeout time.Duration) (open bool) {
	a.n.mu.Lock()
	return a.waitAndUnlock(timeout)
}

// waitAndUnlock is Wait with n.mu held, which it releases.
func (a *Actor) waitAndUnlock(timeout time.Duration) (open bool) {
	n := a.n
	n.stopLocked(a)
	a.waiting = true
	switch {
	case a.woken, timeout == 0, n.closed:
		n.wakeLocked(a)
	case timeout > 0:
		a.setTimeoutLocked(later(n.nowLocked(), timeout))
	default:
		n.cancelLocked(&a.timeout)
	}
	n.mu.Unlock()
	return <-a.run
}

func (a *Actor) setTimeoutLocked(at int64) {
	n, i := a.n, a.timeout.index
	if i == noIndex || n.events[i].at != at {
		n.scheduleLocked(&a.timeout, at)
	}
}

// timeoutLocked is the event timeout: of the current Wait, or of an earlier one.
func (a *Actor) timeoutLocked() {
	if a.waiting {
		a.n.wakeLocked(a)
	}
}

// Done ends what the actor does since Wait has returned, for now or for ever: Advance does not wait for
// it any more. An actor that calls Wait again need not call it.
func (a *Actor) Done() {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	a.n.doneLocked(a)
}

func (n *Network) doneLocked(a *Actor) {
	n.cancelLocked(&a.timeout)
	n.stopLocked(a)
}

// stopLocked ends what the actor does since Wait has returned.
func (n *Network) stopLocked(a *Actor) {
	if !a.running {
		return
	}
	a.running = false
	if n.running--; n.running == 0 {
		n.idle.Broadcast()
	}
}

// Wake makes the current Wait return, or else the next one. It may be called from any goroutine.
func (a *Actor) Wake() {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	a.n.wakeLocked(a)
}

func (n *Network) wakeLocked(a *Actor) {
	switch {
	case !a.waiting:
		a.woken = true
	case n.config.Manual || n.closed:
		n.runLocked(a)
	case a.runnable:
		if n.stepping {
			a.since = wokenByStep
		}
	default:
		a.runnable = true
		if a.since = wokenByStep; !n.stepping {
			a.since = n.nowLocked()
		}
		// The order is that of their numbers: goroutines that run at the same time may come to wait in
		// any order.
		i, _ := slices.BinarySearchFunc(n.runnable, a, func(b, a *Actor) int {
			return cmp.Or(cmp.Compare(b.number, a.number), cmp.Compare(b.name, a.name))
		})
		n.runnable = slices.Insert(n.runnable, i, a)
		n.setTimerLocked()
	}
}

func (n *Network) runLocked(a *Actor) {
	a.waiting, a.runnable, a.woken, a.running = false, false, false, true
	n.running++
	a.run <- !n.closed
}

// An event is something that happens at a time. do is called with n.mu held.
type event struct {
	index int // in n.events, or noIndex
	do    func()
}

const noIndex = -1

// scheduleLocked has e happen at the given time, which replaces an earlier one.
func (n *Network) scheduleLocked(e *event, at int64) {
	n.cancelLocked(e)
	n.seq++
	n.events.push(scheduled{at, n.seq, e})
	n.setTimerLocked()
}

// later returns the time d after at. What the clock cannot hold is never; a negative d counts as 0.
func later(at int64, d time.Duration) int64 {
	return at + min(int64(max(d, 0)), never-at)
}

func (n *Network) cancelLocked(e *event) {
	if e.index != noIndex {
		n.events.remove(e)
	}
}

// doLocked does the events that are due at the given time.
func (n *Network) doLocked(now int64) {
	for len(n.events) > 0 && n.events[0].at <= now {
		e := n.events[0].event
		n.events.remove(e)
		e.do()
	}
}

// setTimerLocked sets the timer to when step has something to do next.
func (n *Network) setTimerLocked() {
	if n.config.Manual || n.stepping {
		return
	}
	now := n.nowLocked()
	var at int64
	switch {
	case n.closed:
		return
	case len(n.runnable) > 0:
		at = now + 1
	case len(n.events) > 0:
		at = max(n.events[0].at, now+1)
	default:
		return
	}
	if n.timerAt > now && n.timerAt <= at {
		return // it fires before, and sets itself again
	}
	n.timerAt = at
	if n.timer == nil {
		n.timer = time.AfterFunc(time.Duration(at-now), n.step)
		return
	}
	n.timer.Reset(time.Duration(at - now))
}

func (n *Network) step() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.timerAt = 0
	n.stepping = true
	now := n.nowLocked()
	n.doLocked(now)
	n.stepping = false
	if a := n.chooseLocked(now); a != nil {
		n.runLocked(a)
	}
	n.setTimerLocked()
}

// wokenByStep is the since of actors that step wakes.
const wokenByStep = -1

// chooseLocked returns an actor that is to run, or nil, and removes it from n.runnable. It leaves out those
// that have become runnable at this instant but not by step: goroutines that a timer of the bubble wakes at
// the same instant as step may, or may not, have got so far.
func (n *Network) chooseLocked(now int64) *Actor {
	n.chosen = n.chosen[:0]
	for i, a := range n.runnable {
		if a.since < now {
			n.chosen = append(n.chosen, i)
		}
	}
	if len(n.chosen) == 0 {
		return nil
	}
	i := n.chosen[n.rand.IntN(len(n.chosen))]
	a := n.runnable[i]
	n.runnable = slices.Delete(n.runnable, i, i+1)
	return a
}
