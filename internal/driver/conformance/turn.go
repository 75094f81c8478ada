package conformance

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
)

var turnTests = []test{
	{"timeouts", usual, turnTimeouts},
	{"zero does not wait and still collects", usual, turnZero},
	{"Wake before and during Turn", usual, wakeOnce},
	{"a wake-up is never lost", usual, wakePingPong},
	{"wake-ups coalesce", usual, wakesCoalesce},
	{"Wake from inside an upcall", usual, wakeInside},
	{"an idle driver sleeps", usual, turnIdle},
	{"busy polling", driver.Config{ScratchBytes: 64 << 10, BudgetBytes: 256 << 10, BusyPoll: 200 * time.Microsecond}, turnBusy},
	{"it has a name", usual, func(h *harness) {
		if h.drv.Name() == "" {
			h.Error("Name is empty")
		}
	}},
}

// busyTests have goroutines that never block: in a bubble, no time would pass.
var busyTests = []test{
	{"frequent wake-ups do not stop I/O", usual, wakeStorm},
	{"QueuePackets against Unbind", usual, queueAgainstUnbind},
}

func turnTimeouts(h *harness) {
	for _, d := range []time.Duration{0, 1, time.Microsecond, 999 * time.Microsecond, 3 * time.Millisecond, 25 * time.Millisecond} {
		start := time.Now()
		for turns := 0; ; turns++ {
			h.turn(max(d-time.Since(start), 0))
			if time.Since(start) >= d {
				break
			}
			if turns > maxIdleTurns {
				h.Fatalf("Turn(%v) returns early, again and again", d)
			}
		}
		if took := time.Since(start); took > d+deadline/2 {
			h.Errorf("Turn(%v) took %v", d, took)
		}
	}
	// A short turn after a long one that a wake-up has ended.
	for range 3 {
		time.AfterFunc(time.Millisecond, func() { h.drv.Wake() })
		h.turn(time.Hour)
		h.expectQuiet("there is nothing")
	}
}

func turnZero(h *harness) {
	best := time.Hour
	for range 20 {
		best = min(best, h.turn(0))
	}
	if best > quietTime/2 {
		h.Errorf("Turn(0) takes at least %v", best)
	}
	c, p := h.pair()
	c.attach()
	c.resume()
	h.turn(0)
	p.write(10)
	h.turnUntil("10 bytes", 0, func() bool { return c.got == 10 })
}

func wakeOnce(h *harness) {
	h.must(h.drv.Wake())
	h.turn(forever)
	for range 100 {
		go h.drv.Wake()
		h.turn(forever)
	}
	h.expectQuiet("all wake-ups were handled")
}

func wakePingPong(h *harness) {
	const rounds = 3000
	var flag atomic.Int64
	next := make(chan bool)
	ended := make(chan bool)
	go func() {
		defer close(ended)
		for range rounds {
			<-next
			flag.Add(1)
			h.drv.Wake()
		}
	}()
	for i := range int64(rounds) {
		next <- true
		h.turnUntil("a wake", forever, func() bool { return flag.Load() == i+1 })
	}
	<-ended
	h.expectQuiet("all wake-ups were handled")
}

func wakesCoalesce(h *harness) {
	const wakes = 2000
	for range wakes {
		h.must(h.drv.Wake())
	}
	h.turn(forever)
	h.expectQuiet("2,000 wake-ups came before one turn")
}

// wakeStorm calls Wake from eight goroutines all the while that a stream is used.
func wakeStorm(h *harness) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				if err := h.drv.Wake(); err != nil {
					h.Error(err)
					return
				}
				runtime.Gosched() // the loop needs a processor too
			}
		})
	}
	c, p := h.smallBufferPair()
	c.attach()
	c.resume()
	const total = 64 << 10
	c.send(total)
	h.until("everything, both ways", func() bool {
		p.push(min(10_000, total-p.wrote))
		p.pull(10_000)
		return c.got == total && p.read == total && c.out.done == total
	})
	stop.Store(true)
	wg.Wait()
	h.turn(0)
	h.expectQuiet("all wake-ups were handled")
}

func wakeInside(h *harness) {
	c, p := h.pair()
	c.onReceived = func([]byte) bool { h.must(h.drv.Wake()); return true }
	c.attach()
	c.resume()
	for i := range 20 {
		p.write(10)
		h.until("10 bytes", func() bool { return c.got == 10*(i+1) })
	}
	h.turn(0)
	h.expectQuiet("all wake-ups were handled")
}

// turnIdle: a driver sleeps though there are paused streams with unread bytes, a blocked send, and
// a paused listener with connections in its backlog.
func turnIdle(h *harness) {
	paused, p := h.pair()
	paused.attach()
	paused.resume()
	p.write(1)
	h.until("a byte", func() bool { return paused.got == 1 })
	paused.pause()
	blocked, _ := h.smallBufferPair()
	blocked.attach()
	blocked.resume()
	blocked.send(4 << 20)
	l, s := h.listener()
	l.listen()
	h.turn(0)
	l.pause()
	h.untilQuiet()
	p.push(1 << 20)
	p.CloseWrite()
	h.connectPeers(s, 5)
	h.untilQuiet()
	const asleep = 100 * time.Millisecond
	if turns := h.idle(asleep); turns > maxIdleTurns {
		h.Errorf("%d turns in %v in which nothing happened", turns, asleep)
	}
}

func turnBusy(h *harness) {
	c, p := h.pair()
	c.attach()
	c.resume()
	for i := range 50 {
		p.write(10)
		h.until("10 bytes", func() bool { return c.got == 10*(i+1) })
	}
	go h.drv.Wake()
	h.turn(forever)
	h.expectQuiet("there is nothing")
}
