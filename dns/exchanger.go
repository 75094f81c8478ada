package dns

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Limits of an exchanger.
const (
	// ednsBytes is the largest UDP response that queries announce: it passes every path without
	// fragments, which are easier to forge (DNS Flag Day 2020).
	ednsBytes = 1232
	// receiveBytes is the size of the buffers for UDP responses, of which receiveBatch are received at once.
	// A longer one counts as truncated: its question is asked again over TCP.
	receiveBytes, receiveBatch = 2048, 16
	// maxQueries is how many queries of one loop may be in flight.
	maxQueries = 10_000
	// maxDelivered is how many done functions are called in one function of the loop.
	maxDelivered = 64
)

// An exchanger asks DNS servers on one loop. It is accessed on that loop only, except for the fields
// that are atomic.
//
// A query (query.go) is a sequence of attempts, each at one server, over UDP (udp.go) and then, where
// that is needed, over TCP (tcp.go). It is attached to at most one socket or stream at a time, and
// detached from it before anything else happens to it; so nothing can reach a query that has ended.
type exchanger struct {
	loop    *loop.Loop
	network sock.Network // nil: the operating system's
	random  func() uint64

	servers  map[netip.AddrPort]*server // those with sockets or streams
	queries  map[*query]struct{}        // in flight: at most maxQueries
	replies  []pendingReply             // to be delivered, in this order
	rotation uint                       // counts the queries with policy.rotate
	closed   bool
	messages [receiveBatch]sock.Message // allocated at first use
	query    []byte                     // buffer of the query to send

	counters
}

// counters are read from any goroutine.
type counters struct {
	sentUDP, sentTCP atomic.Uint64
	// dropped counts the messages that respond to no query in flight: late, duplicate or forged.
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
	tcp      bool           // over TCP
	steps    []Step         // the attempts that have failed before
	err      error
}

type pendingReply struct {
	done  func(reply)
	reply reply
}

func newExchanger(l *loop.Loop, network sock.Network) *exchanger {
	return &exchanger{
		loop: l, network: network, random: rand.Uint64,
		servers: map[netip.AddrPort]*server{}, queries: map[*query]struct{}{},
	}
}

// ask starts a query. done is called once, in a later turn of the loop, unless the query is canceled
// before.
func (x *exchanger) ask(question dnswire.Question, p *policy, done func(reply)) *query {
	q := &query{x: x, question: question, policy: p, done: done}
	switch {
	case x.closed:
		q.end(reply{err: ErrClosed})
		return q
	case len(x.queries) >= maxQueries:
		q.end(reply{err: ErrBusy})
		return q
	}
	if _, err := dnswire.AppendQuery(nil, 0, question, dnswire.QueryOptions{}); err != nil {
		q.end(reply{err: err})
		return q
	}
	x.queries[q] = struct{}{}
	if p.rotate {
		q.first = int(x.rotation % uint(len(p.servers)))
		x.rotation++
	}
	q.try()
	return q
}

// deliverLater has the replies delivered in a function of their own: the caller may be anywhere in
// the state of the exchanger, and done functions may call everything.
func (x *exchanger) deliverLater() {
	if x.loop.Run(x.deliver) != nil { // the queue is full
		x.loop.AfterFunc(0, x.deliver)
	}
}

func (x *exchanger) deliver() {
	defer func() {
		if len(x.replies) > 0 { // a done function has panicked, or there are too many for one turn
			x.deliverLater()
		}
	}()
	for range maxDelivered {
		if len(x.replies) == 0 {
			return
		}
		r := x.replies[0]
		x.replies[0] = pendingReply{}
		x.replies = x.replies[1:]
		r.done(r.reply)
	}
}

// close ends all queries, with ErrClosed, and releases sockets and streams. More calls do nothing.
func (x *exchanger) close() {
	if x.closed {
		return
	}
	x.closed = true
	for q := range x.queries {
		q.end(reply{err: ErrClosed})
	}
	for _, s := range x.servers {
		s.close()
	}
}

// server returns the state of a server, which it creates.
func (x *exchanger) server(addr netip.AddrPort) *server {
	s := x.servers[addr]
	if s == nil {
		s = &server{x: x, addr: addr}
		x.servers[addr] = s
	}
	return s
}

// A server is what the exchanger has open to one. It is forgotten with its last socket or stream,
// so a change of servers leaves nothing behind.
type server struct {
	x    *exchanger
	addr netip.AddrPort
	// plain reports that the server does not understand EDNS. It is forgotten when a socket is
	// retired, as the server may be replaced.
	plain   bool
	sockets [socketsPerServer]*udpSocket // for new queries
	stream  *stream                      // for new queries
	open    int                          // sockets and streams, including those that are retired
}

// released is called when a socket or stream has been closed.
func (s *server) released() {
	s.open--
	s.forgetIfUnused()
}

func (s *server) forgetIfUnused() {
	if s.open == 0 {
		delete(s.x.servers, s.addr)
	}
}

func (s *server) close() {
	for _, u := range s.sockets {
		if u != nil {
			u.retire()
		}
	}
	if s.stream != nil {
		s.stream.abort(ErrClosed)
	}
}

// appendQuery appends the query that q sends to s, with a new ID that is not in use, and a new case.
func (s *server) appendQuery(b []byte, q *query, inFlight map[uint16]*query) ([]byte, error) {
	id := uint16(s.x.random())
	for inFlight[id] != nil { // few of the IDs are in use
		id = uint16(s.x.random())
	}
	q.sent = dnswire.Sent{ID: id, Question: q.question}
	for i := range q.sent.Case {
		q.sent.Case[i] = s.x.random()
	}
	o := dnswire.QueryOptions{RecursionDesired: true, TrustAD: q.policy.trustAD, Case: q.sent.Case}
	if !q.plain {
		o.EDNSSize = ednsBytes
	}
	return dnswire.AppendQuery(b, id, q.question, o)
}
