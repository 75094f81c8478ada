package looptest

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/simnet"
)

// Config configures a Network. The zero Config is valid: links that deliver at once, no faults, and
// the clock of package time.
type Config struct {
	// Seed determines everything that is random: faults, links, ephemeral ports, and which of
	// several loops and goroutines runs first. Each value is valid. SeedEnv overrides it.
	Seed uint64
	// Manual gives the network a clock that moves in Advance and AdvanceUntil only. Otherwise its
	// clock is that of package time: in a test under testing/synctest, that of its bubble.
	Manual bool
	// Link is the link between each two hosts, in both directions. Network.SetLink sets another one.
	Link Link
	// Faults are the faults of all hosts. Network.SetFaults sets others.
	Faults Faults
	// Adversity is how loops get their events, on all hosts.
	Adversity Adversity
	// TraceEvents is how many events the trace keeps, the last ones. Negative: none. 1,000.
	TraceEvents int
	// MaxTime is how long the network may exist, on its clock, unless Manual: then it fails the test,
	// and is closed. A test that waits in vain would otherwise go on while keep-alive and other timers
	// let simulated time pass, until the real time that go test allows is over. Negative: no limit.
	// Two days.
	MaxTime time.Duration
}

// defaultTraceEvents is the default of Config.TraceEvents.
const defaultTraceEvents = 1000

// defaultMaxTime is the default of Config.MaxTime. Keep-alive of a connection lets it pass in less than a second.
const defaultMaxTime = 48 * time.Hour

// A Network is a set of hosts, and the links between them. Its methods may be called from any
// goroutine, but not by a rule (SetRule).
type Network struct {
	t         testing.TB
	net       *simnet.Network
	link      Link
	adversity Adversity
	limit     *time.Timer // of Config.MaxTime, or nil
	made      time.Time   // by package time's clock, which in a bubble is another one
	ended     sync.Once   // Network.testEnded

	mu     sync.Mutex
	faults Faults

	hosts struct { // its lock is acquired after that of net (SetRule)
		sync.Mutex
		of  map[*simnet.Host]*Host
		all []*Host // in the order in which they were made
	}
}

// New returns a network for a test. It is closed after the test, when the functions that were given to
// t.Cleanup later have returned. If a socket or a group is still open then, that is an error of the
// test. If the test has failed, New logs the seed and the trace.
//
// New panics if a field of the configuration is out of its range.
func New(t testing.TB, config Config) *Network {
	t.Helper()
	mustBeValid(config.validate())
	if seed, ok := seedFromEnvironment(t); ok {
		config.Seed = seed
	}
	if config.TraceEvents == 0 {
		config.TraceEvents = defaultTraceEvents
	}
	n := &Network{
		t: t, link: config.Link, adversity: config.Adversity, faults: config.Faults,
		made: time.Now().Round(0),
		net: simnet.New(simnet.Config{
			Seed: config.Seed, Manual: config.Manual, Link: simnet.Link(config.Link),
			Faults: simnet.Faults(config.Faults), TraceEvents: config.TraceEvents,
		}),
	}
	n.hosts.of = map[*simnet.Host]*Host{}
	n.setLimit(&config)
	t.Cleanup(n.end)
	return n
}

// setLimit ends the network after Config.MaxTime.
func (n *Network) setLimit(c *Config) {
	if c.Manual || c.MaxTime < 0 {
		return
	}
	most := cmp.Or(c.MaxTime, defaultMaxTime)
	n.limit = time.AfterFunc(most, func() {
		n.t.Errorf("looptest: the network exists for %v of its time (Config.MaxTime): the test waits for something that does not come; it is closed", most)
		n.Tracef("Config.MaxTime has passed: the network is closed")
		n.net.Close()
	})
}

func (c *Config) validate() error {
	return cmp.Or(c.Link.validate(), c.Faults.validate(), c.Adversity.validate())
}

// mustBeValid panics with the error of an argument that is out of range.
func mustBeValid(err error) {
	if err != nil {
		panic("looptest: " + strings.TrimPrefix(err.Error(), "simnet: "))
	}
}

// Host makes a host with the given addresses, or else with the next of 10.0.0.1, 10.0.0.2 and so on
// that is free. Every host also has 127.0.0.1 and ::1. It panics if an address is the zero Addr, a
// loopback, multicast or unspecified one, or that of another host; and if New was called outside the
// bubble in which Host is called.
func (n *Network) Host(addrs ...netip.Addr) *Host {
	n.mustBeOfThisBubble()
	host, err := n.net.NewHost(addrs...)
	mustBeValid(err)
	h := newHost(n, host)
	n.hosts.Lock()
	defer n.hosts.Unlock()
	n.hosts.of[h.host] = h
	n.hosts.all = append(n.hosts.all, h)
	return h
}

// mustBeOfThisBubble panics if the network was made before the bubble in which it is used. Its channels then
// belong to no bubble, and the test would end with a deadlock. A bubble's clock begins in the year 2000; a
// real clock that is set back is not set back by a year.
func (n *Network) mustBeOfThisBubble() {
	if !n.net.Manual() && time.Now().Before(n.made.AddDate(-1, 0, 0)) {
		panic("looptest: the network was made outside the bubble that uses it; call New in the function given to synctest.Test")
	}
}

// hostOf returns the host that h belongs to, or nil for nil.
func (n *Network) hostOf(h *simnet.Host) *Host {
	n.hosts.Lock()
	defer n.hosts.Unlock()
	return n.hosts.of[h]
}

// allHosts returns the hosts in the order in which they were made.
func (n *Network) allHosts() []*Host {
	n.hosts.Lock()
	defer n.hosts.Unlock()
	return append([]*Host(nil), n.hosts.all...)
}

// Seed returns the seed in use: that of Config or of SeedEnv.
func (n *Network) Seed() uint64 { return n.net.Seed() }

// Now returns the time on the network's clock.
func (n *Network) Now() time.Time { return n.net.Now() }

// Advance moves the clock of a Manual network by d, from event to event, and returns when everything
// that is due has happened, and all loops, and all goroutines in a call of a Conn, a Listener or a
// PacketConn, wait again. Zero waits only. It panics if the network is not Manual, or d is negative.
func (n *Network) Advance(d time.Duration) {
	n.mustBeManual("Advance", d)
	n.net.Advance(d)
}

// AdvanceUntil is Advance until ok returns true, for at most limit. It calls ok before the clock
// moves, and after each event. It returns the last result.
func (n *Network) AdvanceUntil(limit time.Duration, ok func() bool) bool {
	n.mustBeManual("AdvanceUntil", limit)
	if ok == nil {
		panic("looptest: AdvanceUntil called with a nil function")
	}
	return n.net.AdvanceUntil(limit, ok)
}

func (n *Network) mustBeManual(method string, d time.Duration) {
	switch {
	case !n.net.Manual():
		panic("looptest: " + method + " called without Config.Manual; with the clock of package time use time.Sleep")
	case d < 0:
		panic(fmt.Sprintf("looptest: %s called with %v; it must not be negative", method, d))
	}
}

// Trace returns what has happened, an event a line: when, on the network's clock since New, between
// which addresses, and what became of it. It has the last Config.TraceEvents events; equal probes in a row,
// as of keep-alive, count as one.
func (n *Network) Trace() string { return n.net.Trace() }

// Tracef adds a line to the trace.
func (n *Network) Tracef(format string, args ...any) { n.net.Tracef(format, args...) }
