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
	// Faults are those of all hosts.
	Faults Faults
	// TraceEvents is how many of the last events Trace has. 0: 10,000; negative: none.
	TraceEvents int
}

// A Network is a set of hosts and the links between them.
type Network struct {
	config Config
	began  time.Time

	mu       sync.Mutex
	rand     *rand.Rand
	closed   bool
	manual   int64 // with Config.Manual, nanoseconds since the network began
	timer    *time.Timer
	timerAt  int64 // when the timer fires; past: it is not set
	stepping bool  // in step, which sets the timer afterwards
	events   events
	seq      uint64
	runnable []*Actor
	hosts    []*Host
	byAddr   map[netip.Addr]*Host

	freePackets *packet
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
	return &Network{
		config: c, began: time.Now(), rand: rand.New(rand.NewPCG(c.Seed, 0)),
		byAddr: map[netip.Addr]*Host{}, lines: map[[2]*Host]*line{}, trace: trace{limit: c.TraceEvents},
	}
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
	return int64(time.Since(n.began))
}
