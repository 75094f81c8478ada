package sim_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/sim"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// scene is a driver that serves an echo on one host, for peers on another one, in a bubble of
// testing/synctest. It records the upcalls with their times.
type scene struct {
	*testing.T
	n          *simnet.Network
	host, away *simnet.Host
	drv        driver.Driver
	listener   driver.Listener
	at         string
	began      time.Time
	lines      []string
	streams    int // that Incoming has made
	accepted   int
	live       int
}

const latency = 30 * time.Millisecond

func newScene(t *testing.T, seed uint64, a sim.Adversity) *scene {
	n := simnet.New(simnet.Config{Seed: seed, Link: simnet.Link{Latency: latency}})
	t.Cleanup(n.Close)
	x := &scene{T: t, n: n, host: n.Host(), away: n.Host(), began: time.Now()}
	h := sim.NewHost(x.host, a)
	var err error
	x.drv, err = h.OpenDriver(driver.Config{ScratchBytes: 4 << 10, BudgetBytes: 16 << 10})
	x.must(err)
	l, err := sock.ListenTCP(anyPortOf(x.host), sock.OnNetwork(networkOf(h)))
	x.must(err)
	x.at = l.Addr().String()
	x.listener = driver.Listener{Acceptor: l, Up: (*accepting)(x)}
	x.must(x.drv.Listen(&x.listener))
	return x
}

func (x *scene) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

func (x *scene) record(format string, args ...any) {
	x.lines = append(x.lines, fmt.Sprintf("%v ", time.Since(x.began))+fmt.Sprintf(format, args...))
}

// close ends the driver. Its streams must have ended.
func (x *scene) close() {
	x.drv.Unlisten(&x.listener)
	x.must(x.drv.Close())
}

// turnUntil runs turns, which sleep until there is an event, until ok.
func (x *scene) turnUntil(ok func() bool) {
	for !ok() {
		x.must(x.drv.Turn(-1))
	}
}

// accepting is a scene as driver.ListenerUpcalls.
type accepting scene

func (x *accepting) Incoming() *driver.Stream {
	e := &echo{x: (*scene)(x), number: x.streams}
	e.Up = e
	x.streams++
	return &e.Stream
}

func (x *accepting) Accepted(s *driver.Stream) {
	e := s.Up.(*echo)
	x.accepted++
	x.live++
	e.x.record("%d Accepted", e.number)
	e.x.must(x.drv.Attach(s))
	x.drv.Resume(s)
}

func (x *accepting) AcceptFailed(err error) { x.Error(err) }

// echo sends back what it receives.
type echo struct {
	driver.Stream
	x      *scene
	number int
	unsent []byte
	ended  bool
	flying bool // a Send is in flight
}

func (e *echo) Connected(error) {}
func (e *echo) Received(b []byte) bool {
	e.x.record("%d Received %d", e.number, len(b))
	e.unsent = append(e.unsent, b...)
	e.send()
	return true
}

func (e *echo) send() {
	if e.flying {
		return
	}
	for len(e.unsent) > 0 {
		n, err := e.x.drv.Send(&e.Stream, [][]byte{slices.Clone(e.unsent)})
		e.x.must(err)
		e.flying = n < len(e.unsent)
		e.unsent = e.unsent[n:]
		if e.flying {
			return
		}
	}
	if e.ended {
		e.x.drv.Release(&e.Stream)
	}
}

func (e *echo) Sent(n int, err error) {
	e.x.record("%d Sent %d", e.number, n)
	e.x.must(err)
	e.flying = false
	e.unsent = e.unsent[n:]
	e.send()
}

func (e *echo) ReceiveEnded(err error) {
	e.x.record("%d ReceiveEnded %v", e.number, err)
	e.ended = true
	e.send()
}
func (e *echo) Failed(err error) { e.x.Error(err) }
func (e *echo) Released() {
	e.x.record("%d Released", e.number)
	e.x.live--
}

// peer sends messages to the echo, with pauses, also before it connects, and closes. Goroutines whose
// pauses end in one instant would run in an order that the seed does not determine.
func (x *scene) peer(messages int, pause time.Duration) {
	time.Sleep(pause)
	c, err := x.away.Dial(context.Background(), "tcp", x.at)
	if err != nil {
		x.Error(err)
		return
	}
	defer c.Close()
	message := []byte(strings.Repeat("message ", 500))
	answer := make([]byte, len(message))
	for range messages {
		time.Sleep(pause)
		if _, err := c.Write(message); err != nil {
			x.Error(err)
			return
		}
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) != string(message) {
			x.Errorf("the answer differs from the message, or %v", err)
			return
		}
	}
}

// TestTimeJumps: a turn that sleeps lets the bubble's time pass at once, and ends when a segment
// arrives, at a time that the link's latency determines exactly.
func TestTimeJumps(t *testing.T) {
	testkit.CheckLeaks(t)
	synctest.Test(t, func(t *testing.T) {
		x := newScene(t, 1, sim.Adversity{})
		const pause, slack = time.Hour, time.Microsecond
		go x.peer(1, pause)
		x.turnUntil(func() bool { return x.accepted == 1 && x.live == 0 })
		// The handshake takes three ways, but the peer is connected, and pauses, after two. Then the
		// message, its answer, and the FIN take one each.
		for i, want := range []time.Duration{pause + 3*latency, 2*pause + 3*latency, 2*pause + 5*latency} {
			prefix := []string{"Accepted", "Received", "ReceiveEnded"}[i]
			line := x.lines[slices.IndexFunc(x.lines, func(s string) bool { return strings.Contains(s, prefix) })]
			at, err := time.ParseDuration(strings.Fields(line)[0])
			x.must(err)
			if at < want || at > want+slack {
				t.Errorf("%q: want %v to %v", line, want, want+slack)
			}
		}
		start := time.Now()
		x.must(x.drv.Turn(24 * time.Hour))
		if took := time.Since(start); took != 24*time.Hour {
			t.Errorf("Turn(24h) without events took %v", took)
		}
		time.AfterFunc(time.Minute, func() { x.drv.Wake() })
		start = time.Now()
		x.must(x.drv.Turn(-1))
		if took := time.Since(start); took < time.Minute || took > time.Minute+slack {
			t.Errorf("Turn took %v; Wake came after 1m0s", took)
		}
		x.close()
	})
}

// TestNetworkClosed: closing the network ends a turn, and every later one, with an error.
func TestNetworkClosed(t *testing.T) {
	testkit.CheckLeaks(t)
	synctest.Test(t, func(t *testing.T) {
		for _, timeout := range []time.Duration{-1, 0, time.Hour} {
			x := newScene(t, 1, sim.Adversity{})
			time.AfterFunc(time.Second, x.n.Close)
			for x.drv.Turn(timeout) == nil {
				time.Sleep(time.Millisecond)
			}
			start := time.Now()
			if err := x.drv.Turn(-1); err == nil || time.Now() != start {
				t.Errorf("a turn after Close took %v: %v", time.Since(start), err)
			}
			x.close()
		}
	})
}

// TestSeedDeterminesRun: with the same seed, the upcalls of two runs are the same, at the same times.
func TestSeedDeterminesRun(t *testing.T) {
	testkit.CheckLeaks(t)
	run := func(seed uint64) (lines []string) {
		synctest.Test(t, func(t *testing.T) {
			x := newScene(t, seed, all)
			for i := range 5 {
				go x.peer(10, time.Millisecond+time.Duration(i)*137*time.Microsecond)
			}
			x.turnUntil(func() bool { return x.accepted == 5 && x.live == 0 })
			x.close()
			lines = x.lines
		})
		return lines
	}
	first := run(1)
	for range 20 {
		if again := run(1); !slices.Equal(first, again) {
			i := 0
			for i < min(len(first), len(again)) && first[i] == again[i] {
				i++
			}
			t.Fatalf("two runs with one seed have %d and %d upcalls; they differ from number %d on:\n%q\n%q",
				len(first), len(again), i, first[i:min(i+3, len(first))], again[i:min(i+3, len(again))])
		}
	}
	if slices.Equal(first, run(2)) {
		t.Error("another seed made no difference")
	}
}
