package exchange

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
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
	// DefaultQueries is how many queries of one loop may be in progress, by default.
	DefaultQueries = 10_000
	// maxDelivered is how many done functions are called in one function of the loop.
	maxDelivered = 64
)

// An Exchanger asks DNS servers on one loop. It is accessed on that loop only, or by one goroutine once the loop has
// ended; only Traffic and AddServerStats may be called from anywhere.
//
// A query (query.go) is a sequence of attempts, each at one server. What an attempt sends is a
// transmission (transmission.go), over UDP (udp.go, receive.go) and then, where that is needed, over
// TCP (tcp.go). A transmission is attached to one socket or stream, until it is answered or fails, or
// its query ends: a late answer of an earlier attempt still ends the query, and nothing can reach a
// query that has ended.
type Exchanger struct {
	loop    *loop.Loop
	network sock.Network // nil: the operating system's
	limits  Limits
	// random returns 64 random bits that no peer can predict: of ChaCha8, seeded by the system.
	random func() uint64
	clock  driver.Clock // nil: package time's
	began  time.Time
	alarms alarms

	route    route
	rotation uint      // counts the queries with Policy.Rotate
	queries  queryList // in progress: at most Limits.Queries
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

// Limits are those of one exchanger. They are immutable.
type Limits struct {
	Queries   int           // in progress; more end with ErrBusy
	Sockets   int           // for UDP, for each server, at least
	Sources   []netip.Addr  // local addresses to send from, in turn; none: the system chooses
	PerServer int           // transmissions in flight; 0: unlimited
	Interval  time.Duration // between two attempts at one server, on the average; 0: unlimited
}

// A Policy is how a query is asked. It is immutable. Queries with the same configuration should share one: the servers are
// found by its address.
type Policy struct {
	Servers  []netip.AddrPort // in order, at least one
	Timeout  time.Duration    // of one attempt
	Attempts int              // how often each server is asked
	Rotate   bool             // begin each query at the server after that of the last one
	TCP      bool             // never use UDP
	TrustAD  bool             // set the bit AD (RFC 6840, section 5.7)
}

// A Reply is the end of a query. Unless Err is nil, Response is zero. Err is ErrBusy, net.ErrClosed, what is wrong with the
// question, or that of the last attempt: ErrTimeout, an *RcodeError, or of the system.
type Reply struct {
	Response dnswire.Response
	Server   netip.AddrPort // the one that has answered
	Path     string         // dns.Path of the answer: "evented 192.0.2.53:53 udp"
	TCP      bool           // over TCP
	Steps    []Step         // what has failed before
	Err      error
}

type pendingReply struct {
	done  func(Reply)
	reply Reply
}

// New returns an exchanger on a loop, whose network is given, or nil for the operating system's. It opens nothing until the
// first query.
func New(l *loop.Loop, network sock.Network, lim Limits) *Exchanger {
	x := &Exchanger{loop: l, network: network, limits: lim, random: rand.Uint64}
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
func (x *Exchanger) now() int64 {
	if x.clock != nil {
		return int64(x.clock.Now().Sub(x.began))
	}
	return int64(time.Since(x.began))
}

// Ask starts a query. done is called once, in a later turn of the loop, unless the query is canceled
// before.
func (x *Exchanger) Ask(question dnswire.Question, p *Policy, done func(Reply)) *Query {
	q := &Query{x: x, question: question, policy: p, done: done}
	q.timer.Fire = q.fired
	var err error
	switch {
	case x.closed:
		err = net.ErrClosed
	case x.queries.n >= x.limits.Queries:
		err = ErrBusy
	default:
		err = question.Check()
	}
	if err != nil {
		q.end(Reply{Err: err})
		return q
	}
	x.queries.add(q)
	q.servers = x.serversOf(p)
	if p.Rotate {
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
func (x *Exchanger) later(f func()) {
	if x.loop.Run(f) != nil { // the queue is full
		x.loop.AfterFunc(0, f)
	}
}

// deliver calls done functions, which may call everything, and panic.
func (x *Exchanger) deliver() {
	x.delivering = false
	defer x.deliverRest()
	for n := 0; n < maxDelivered && x.delivered < len(x.replies); n++ {
		r := x.replies[x.delivered]
		x.replies[x.delivered] = pendingReply{}
		x.delivered++
		r.done(r.reply)
	}
}

// deliverRest removes the delivered replies, and has the rest delivered. Under load there always is one.
func (x *Exchanger) deliverRest() {
	if 2*x.delivered >= len(x.replies) { // so each moves once, on the average
		rest := copy(x.replies, x.replies[x.delivered:])
		clear(x.replies[rest:])
		x.replies, x.delivered = x.replies[:rest], 0
	}
	if x.delivered < len(x.replies) {
		x.deliverLater()
	}
}

func (x *Exchanger) deliverLater() {
	if !x.delivering {
		x.delivering = true
		x.later(x.deliver)
	}
}

// Close ends all queries, with net.ErrClosed, and releases sockets and streams. More calls do nothing.
func (x *Exchanger) Close() {
	if x.closed {
		return
	}
	x.closed = true
	for x.queries.first != nil {
		x.queries.first.end(Reply{Err: net.ErrClosed})
	}
	for _, s := range slices.Clone(x.servers) { // those that are not on the route are forgotten
		s.close()
	}
	x.alarms.stop()
}

// A queryList has the queries in progress, in the order of ask.
type queryList struct {
	first, last *Query
	n           int
}

func (l *queryList) add(q *Query) {
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
func (l *queryList) remove(q *Query) {
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
