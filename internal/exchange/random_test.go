package exchange

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop/looptest"
)

// randomQueries is how many queries a random program makes.
const randomQueries = 150

// A randomProgram makes queries on a random network, to servers each of whose answers is that of another hostile
// server, and checks what must be true whatever happens.
type randomProgram struct {
	n       *testNet
	rand    *rand.Rand
	servers []*exchangetest.Server
	limited bool // queries may wait in queues
	outcomes
}

// A lockedSource may be used by servers and the loop. On a simulated network they run one at a time, in an order that
// the seed decides.
type lockedSource struct {
	sync.Mutex
	source rand.Source
}

func (s *lockedSource) Uint64() uint64 {
	s.Lock()
	defer s.Unlock()
	return s.source.Uint64()
}

type outcomes struct {
	started, canceled, resolved, absent, failed, closed int
	longest                                             time.Duration
}

// notInRandom are the hostile servers whose forged responses a random program may accept: datagrams arrive in another
// order, UDP is not excluded, and the case of a response (0x20) is not checked once a server is known not to preserve it.
var notInRandom = []string{"wrong case", "true answer twice", "a connection for each answer"}

// TestRandomServers: whatever servers do, each query ends once, with the truth or an error, in the time of its attempts;
// the number of messages is bounded, and nothing stays open. POLLUX_SEED repeats the program of a seed.
func TestRandomServers(t *testing.T) {
	seeds := 20
	if testkit.Long() && !testkit.Race {
		seeds = 1000
	}
	first := uint64(1)
	if text := os.Getenv(looptest.SeedEnv); text != "" {
		seed, err := strconv.ParseUint(text, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, seeds = seed, 1
	}
	var all outcomes
	for seed := first; seed < first+uint64(seeds) && !t.Failed(); seed++ {
		p := &randomProgram{rand: rand.New(&lockedSource{source: rand.NewPCG(seed, 0)})}
		for range 1 + p.rand.IntN(3) {
			p.servers = append(p.servers, p.newServer())
		}
		onTestNetOf(t, looptest.Config{Seed: seed, Link: p.link(), MaxTime: -1}, p.run, p.servers...)
		all.started += p.started
		all.resolved += p.resolved
		all.failed += p.failed
		all.absent += p.absent
		all.canceled += p.canceled
	}
	if !t.Failed() && seeds > 1 && (all.resolved < all.started/4 || all.failed == 0 || all.absent == 0 || all.canceled == 0) {
		t.Errorf("the programs test too little: %+v", all)
	}
}

func (p *randomProgram) chance(percent int) bool { return p.rand.IntN(100) < percent }

func (p *randomProgram) duration(most time.Duration) time.Duration {
	return time.Duration(p.rand.Int64N(int64(most) + 1))
}

func (p *randomProgram) link() looptest.Link {
	l := looptest.Link{Latency: p.duration(50 * time.Millisecond)}
	if p.chance(50) {
		l.Jitter, l.Loss, l.Duplicate, l.Reorder = p.duration(100*time.Millisecond), 0.1, 0.1, 0.2
	}
	return l
}

// newServer returns a server that behaves in another way for each message, more often as an honest one if it is a
// good one.
func (p *randomProgram) newServer() *exchangetest.Server {
	behaviours := slices.DeleteFunc(slices.Clone(hostileServers), func(h hostileServer) bool {
		return slices.Contains(notInRandom, h.name)
	})
	good := p.rand.IntN(100)
	draw := func() hostileServer {
		if p.chance(good) {
			return hostileServer{udp: always(truth), tcp: overTCP(truth)}
		}
		return behaviours[p.rand.IntN(len(behaviours))]
	}
	s := &exchangetest.Server{}
	s.UDP = func(q []byte) []exchangetest.Message {
		if h := draw(); h.udp != nil {
			return h.udp(q, 1+p.rand.IntN(2))
		}
		return nil
	}
	s.Delay = func(int) time.Duration {
		if p.chance(80) {
			return 0
		}
		return p.duration(8 * time.Second)
	}
	if p.chance(80) {
		s.TCP = func(c net.Conn, q []byte) {
			if h := draw(); h.tcp != nil {
				h.tcp(c, q, 1+p.rand.IntN(2))
			}
		}
	}
	return s
}

func (p *randomProgram) run(n *testNet) {
	p.n = n
	n.policy.Timeout = time.Duration(1+p.rand.IntN(5)) * time.Second
	n.policy.Attempts = 1 + p.rand.IntN(3)
	n.policy.Rotate, n.policy.TCP = p.chance(30), p.chance(10)
	if p.limited = p.chance(30); p.limited {
		n.x.limits.PerServer = p.rand.IntN(10)
		n.x.limits.Interval = p.duration(50 * time.Millisecond)
	}
	if p.chance(30) {
		n.Network.SetFaults(looptest.Faults{WouldBlock: 0.1, PartialReads: 0.2, PartialWrites: 0.2, Resets: 0.01, NoDescriptors: 0.02})
	}
	n.x.random = p.rand.Uint64
	for range randomQueries {
		n.Run(p.start)
		time.Sleep(p.duration(200 * time.Millisecond))
	}
	if p.chance(20) {
		n.Run(n.x.Close)
	}
	for left, minutes := 1, 0; left > 0; minutes++ {
		n.Run(func() { left = n.x.queries.n })
		if minutes > 60 {
			q := n.x.queries.first
			n.T.Fatalf("%d queries do not end; the first one: %+v", left, *q)
		}
		time.Sleep(time.Minute)
	}
	n.Run(func() { // the last replies were delivered after the last look at the queries
		if ended := p.resolved + p.absent + p.failed + p.closed + p.canceled; ended != p.started || p.started < randomQueries {
			n.T.Errorf("of %d queries %d have ended: %+v", p.started, ended, p.outcomes)
		}
	})
	p.checkCounters()
	n.Network.SetFaults(looptest.Faults{})
	n.Run(n.x.Close)
	n.Run(n.checkUnused)
}

// start starts a query, which may be canceled later, and whose done function may start another.
func (p *randomProgram) start() {
	p.started++
	n, began, ended := p.n, time.Now(), false
	question := dnswire.Question{Name: must(dnswire.ParseName([]string{"www.example.com", "t.co", "1"}[p.rand.IntN(3)])), Type: dnswire.TypeA}
	q := n.x.Ask(question, &n.policy, func(r Reply) {
		if ended {
			n.T.Error("done is called twice, or after cancel")
		}
		ended = true
		p.ended(r, time.Since(began))
		if p.chance(10) && p.started < 2*randomQueries {
			p.start()
		}
	})
	if p.chance(10) {
		n.Loop.AfterFunc(p.duration(3*time.Second), func() {
			if q.done == nil {
				return // its reply is delivered
			}
			if q.Cancel(); ended {
				n.T.Error("a query that is in progress has ended")
			}
			ended = true
			p.canceled++
		})
	}
}

// ended checks a reply.
func (p *randomProgram) ended(r Reply, took time.Duration) {
	n := p.n
	p.longest = max(p.longest, took)
	attempts := time.Duration(len(n.policy.Servers) * n.policy.Attempts)
	if most := attempts * (n.policy.Timeout + lateness); took > most && !p.limited {
		n.T.Errorf("a query took %v, want %v at most; steps %v, %v", took, most, r.Steps, r.Err)
	}
	if len(r.Steps) > 2*int(attempts) {
		n.T.Errorf("%d steps of %d attempts", len(r.Steps), attempts)
	}
	switch n.endingOf(r) {
	case resolved:
		p.resolved++
	case noData, noName:
		p.absent++
	case failed:
		if errors.Is(r.Err, net.ErrClosed) {
			p.closed++
		} else {
			p.failed++
		}
	}
}

// maxSends is how many messages a transmission sends at most: the first, over TCP, without EDNS, alone, and once more
// over TCP.
const maxSends = 5

func (p *randomProgram) checkCounters() {
	n := p.n
	udp, tcp := n.x.sentUDP.Load(), n.x.sentTCP.Load()
	var sum ServerStats
	for i := range p.servers {
		st := n.stats(p.servers[i])
		sum.Sent += st.Sent
		sum.Answered += st.Answered
		sum.TimedOut += st.TimedOut
		if st.InFlight != 0 || st.Queued != 0 {
			n.T.Errorf("%+v after the last query", st)
		}
	}
	attempts := uint64(p.started * len(p.servers) * n.policy.Attempts)
	if sum.Sent > udp+tcp || sum.Answered > 2*sum.Sent || sum.TimedOut > sum.Sent {
		n.T.Errorf("%d messages over UDP, %d over TCP; of all servers %+v", udp, tcp, sum)
	}
	if most := 2 * attempts * maxSends * 2; sum.Sent > most { // tests of servers are as many at most
		n.T.Errorf("%d messages for %d attempts", sum.Sent, attempts)
	}
}
