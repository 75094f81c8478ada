package dns

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/wheel"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Limits of an exchanger.
const (
	// maxQueries is how many queries of one loop may be in progress, by default.
	maxQueries = 10_000
	// maxDelivered is how many done functions are called in one function of the loop.
	maxDelivered = 64
)

// An exchanger asks DNS servers on one loop. It is accessed on that loop only, except for the fields
// that are atomic or guarded by mu.
//
// A query (query.go) is a sequence of attempts, each at one server. What an attempt sends is a
// transmission (transmission.go), over UDP (udp.go, receive.go) and then, where that is needed, over
// TCP (tcp.go). A transmission is attached to one socket or stream, until it is answered or fails, or
// its query ends: a late answer of an earlier attempt still ends the query, and nothing can reach a
// query that has ended.
type exchanger struct {
	loop    *loop.Loop
	network sock.Network // nil: the operating system's
	limits  limits
	// random returns 64 random bits that no peer can predict: of ChaCha8, seeded by the system.
	random func() uint64
	clock  driver.Clock // nil: package time's
	began  time.Time
	alarms alarms

	route    route
	rotation uint      // counts the queries with policy.rotate
	queries  queryList // in progress: at most limits.queries
	failing  int       // servers that fail
	closed   bool

	replies    []pendingReply // to be delivered, from delivered on
	delivered  int
	delivering bool                       // deliver will be called
	incoming   [receiveBatch]sock.Message // allocated at first use
	outgoing   outgoing
	parser     dnswire.Parser

	mu      sync.Mutex // guards changes of servers, and reading elsewhere than on the loop
	servers []*server

	counters
}

// counters are read from any goroutine.
type counters struct {
	sentUDP, sentTCP atomic.Uint64
	// dropped counts the messages that respond to no transmission: late, duplicate or forged.
	dropped atomic.Uint64
}

// A policy is how a query is asked. It is immutable.
type policy struct {
	servers  []netip.AddrPort // in order, at least one
	timeout  time.Duration    // of one attempt
	attempts int              // how often each server is asked
	rotate   bool             // begin each query at another server
	tcp      bool             // never use UDP
	trustAD  bool
}

// A reply is the end of a query. Unless err is nil, response is zero.
type reply struct {
	response dnswire.Response
	server   netip.AddrPort // the one that has answered
	path     Path
	tcp      bool   // over TCP
	steps    []Step // what has failed before
	err      error
}

type pendingReply struct {
	done  func(reply)
	reply reply
}

func newExchanger(l *loop.Loop, network sock.Network, lim limits) *exchanger {
	x := &exchanger{loop: l, network: network, limits: lim, random: rand.Uint64}
	if k, _ := handle.KernelOf(network); k != nil {
		if sim, ok := k.(driver.Simulation); ok {
			x.clock = sim.Clock()
		}
	}
	if x.began = time.Now(); x.clock != nil {
		x.began = x.clock.Now()
	}
	x.alarms.wheel = wheel.New(0)
	return x
}

// now returns the time in nanoseconds since the exchanger was made.
func (x *exchanger) now() int64 {
	if x.clock != nil {
		return int64(x.clock.Now().Sub(x.began))
	}
	return int64(time.Since(x.began))
}

// ask starts a query. done is called once, in a later turn of the loop, unless the query is canceled
// before.
func (x *exchanger) ask(question dnswire.Question, p *policy, done func(reply)) *query {
	q := &query{x: x, question: question, policy: p, done: done}
	q.timer.Fire = q.fired
	var err error
	switch {
	case x.closed:
		err = ErrClosed
	case x.queries.n >= x.limits.queries:
		err = ErrBusy
	default:
		err = question.Check()
	}
	if err != nil {
		q.end(reply{err: err})
		return q
	}
	x.queries.add(q)
	q.servers = x.serversOf(p)
	if p.rotate {
		q.first = int(x.rotation % uint(len(q.servers)))
		x.rotation++
	}
	if x.failing > 0 {
		x.preferWorking(q)
	}
	q.try()
	return q
}

// later runs f in a function of its own: the caller may be anywhere in the state of the exchanger.
func (x *exchanger) later(f func()) {
	if x.loop.Run(f) != nil { // the queue is full
		x.loop.AfterFunc(0, f)
	}
}

// deliver calls done functions, which may call everything, and panic.
func (x *exchanger) deliver() {
	x.delivering = false
	defer func() {
		if x.delivered < len(x.replies) {
			x.deliverLater()
		}
	}()
	for range maxDelivered {
		if x.delivered == len(x.replies) {
			x.replies, x.delivered = x.replies[:0], 0
			return
		}
		r := x.replies[x.delivered]
		x.replies[x.delivered] = pendingReply{}
		x.delivered++
		r.done(r.reply)
	}
}

func (x *exchanger) deliverLater() {
	if !x.delivering {
		x.delivering = true
		x.later(x.deliver)
	}
}

// close ends all queries, with ErrClosed, and releases sockets and streams. More calls do nothing.
func (x *exchanger) close() {
	if x.closed {
		return
	}
	x.closed = true
	for x.queries.first != nil {
		x.queries.first.end(reply{err: ErrClosed})
	}
	for _, s := range slices.Clone(x.servers) { // those that are not on the route are forgotten
		s.close()
	}
	x.alarms.stop()
}

// A queryList has the queries in progress, in the order of ask.
type queryList struct {
	first, last *query
	n           int
}

func (l *queryList) add(q *query) {
	q.listed = true
	l.n++
	if q.prev = l.last; l.last == nil {
		l.first = q
	} else {
		l.last.next = q
	}
	l.last = q
}

// remove has no effect on a query that is not in the list.
func (l *queryList) remove(q *query) {
	if !q.listed {
		return
	}
	q.listed = false
	l.n--
	if q.prev == nil {
		l.first = q.next
	} else {
		q.prev.next = q.next
	}
	if q.next == nil {
		l.last = q.prev
	} else {
		q.next.prev = q.prev
	}
	q.prev, q.next = nil, nil
}
