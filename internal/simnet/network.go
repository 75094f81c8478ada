package simnet

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Config configures a Network.
type Config struct {
	// Seed determines everything random.
	Seed uint64
	// Manual makes Advance the only thing that moves the clock. Otherwise it is package time's.
	Manual bool
	// Link is the link between two hosts, unless SetLink sets another one.
	Link Link
	// Faults are those of all hosts, unless SetFaults sets other ones.
	Faults Faults
	// TraceEvents is how many of the last events Trace has. 0: 10,000; negative: none.
	TraceEvents int
}

// A Network is a set of hosts and the links between them.
type Network struct {
	config Config
	began  time.Time

	mu       lock
	rand     *rand.Rand
	closed   bool
	manual   int64 // with Config.Manual, nanoseconds since the network began
	timer    *time.Timer
	timerAt  int64 // when the timer fires; past: it is not set
	stepping bool  // in step, which sets the timer afterwards
	events   events
	seq      uint64
	runnable []*Actor // ordered by number
	chosen   []int    // scratch space of chooseLocked
	actors   uint64   // of NewActor
	running  int      // actors that run; with Config.Manual, Advance waits for idle until it is 0
	idle     sync.Cond
	hosts    []*Host
	loops    []*Actor
	byAddr   map[netip.Addr]*Host
	sockets  uint64 // that were made

	freePackets *packet
	freeCount   int       // at most maxFreePackets
	arriving    []*packet // that arrive before arriveNowLocked returns
	delivering  bool      // in arriveNowLocked

	lines  map[[2]*Host]*line // from the first host to the second
	rule   func(*Segment) Verdict
	judged Segment // what rule is called with
	trace  trace
}

// validate returns an error that names what is out of range, or nil.
func (c *Config) validate() error {
	if err := c.Link.Validate(); err != nil {
		return err
	}
	return c.Faults.Validate()
}

// New returns a network. It panics if a part of the configuration is out of range.
func New(c Config) *Network {
	if err := c.validate(); err != nil {
		panic(err)
	}
	if c.TraceEvents == 0 {
		c.TraceEvents = defaultTraceEvents
	}
	n := &Network{
		config: c, began: time.Now(), rand: rand.New(rand.NewPCG(c.Seed, 0)),
		byAddr: map[netip.Addr]*Host{}, lines: map[[2]*Host]*line{}, trace: trace{limit: c.TraceEvents},
	}
	n.idle.L = &n.mu
	return n
}

// Now returns the time on the network's clock.
func (n *Network) Now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.began.Add(time.Duration(n.nowLocked()))
}

func (n *Network) nowLocked() int64 {
	if n.config.Manual {
		return n.manual
	}
	if n.mu.now == unknownTime {
		n.mu.now = int64(time.Since(n.began))
	}
	return n.mu.now
}

// Seed returns the seed.
func (n *Network) Seed() uint64 { return n.config.Seed }

// Close ends the network: blocking calls return, and nothing happens any more. Calls on its sockets are
// ENETDOWN; they must be closed nevertheless. Groups on the network should be closed before.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closeLocked()
}

func (n *Network) closeLocked() {
	if n.closed {
		return
	}
	for _, h := range n.hosts {
		h.loseSocketsLocked()
	}
	n.closed = true
	for _, a := range n.runnable {
		n.runLocked(a)
	}
	n.runnable = nil
	for _, a := range n.loops {
		n.wakeLocked(a)
	}
	for len(n.events) > 0 {
		n.cancelLocked(n.events[0].event)
	}
	if n.timer != nil {
		n.timer.Stop()
	}
}

// Advance moves the clock of a network with Config.Manual forward, step by step, through all that
// happens meanwhile. It returns when all that is due has happened, and all loops wait again. It must
// not be called by two goroutines at a time.
func (n *Network) Advance(d time.Duration) { n.AdvanceUntil(d, func() bool { return false }) }

// AdvanceUntil is Advance until ok returns true, but by at most limit. It returns the last result of
// ok, which it calls before each step.
func (n *Network) AdvanceUntil(limit time.Duration, ok func() bool) bool {
	if !n.config.Manual {
		panic("simnet: Advance without Config.Manual: the clock is package time's")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	end := later(n.manual, limit)
	for {
		n.waitIdleLocked()
		done := n.unlocked(ok)
		switch {
		case done || n.manual >= end && !n.dueLocked(end):
			return done
		case n.dueLocked(end):
			n.manual = max(n.manual, n.events[0].at)
			n.doLocked(n.manual)
		default:
			n.manual = end
		}
	}
}

// unlocked calls f without n.mu, which is held again also if f panics or ends the goroutine, as
// testing.T.FailNow does.
func (n *Network) unlocked(f func() bool) bool {
	n.mu.Unlock()
	defer n.mu.Lock()
	return f()
}

// dueLocked reports whether there is an event at the time end or before.
func (n *Network) dueLocked(end int64) bool { return len(n.events) > 0 && n.events[0].at <= end }

// waitIdleLocked waits until no actor runs.
func (n *Network) waitIdleLocked() {
	for n.running > 0 {
		n.idle.Wait()
	}
}
