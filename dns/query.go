package dns

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/loop"
)

// A query is one question to the servers of a policy, in turn. An attempt has one server and one
// timer; within it, the question may be asked again without EDNS, and over TCP.
type query struct {
	x        *exchanger
	question dnswire.Question
	policy   *policy
	done     func(reply) // nil once the query has ended

	first   int // index of the server of the first attempt
	attempt int // the current one, from 0
	steps   []Step

	// Of the current attempt.
	server   *server
	timer    *loop.Timer
	plain    bool // without EDNS
	tcp      bool
	reopened bool // asked again, because a stream ended that had been used before

	// Where the query waits for its response: at most one of them.
	sent   dnswire.Sent
	sentOn uint64 // value of stream.sent
	socket *udpSocket
	stream *stream
}

// try begins attempts, from the current one on, until one has sent the query.
func (q *query) try() {
	servers := q.policy.servers
	for q.attempt < len(servers)*q.policy.attempts {
		q.server = q.x.server(servers[(q.first+q.attempt)%len(servers)])
		q.plain, q.tcp, q.reopened = q.server.plain, q.policy.tcp, false
		if err := q.send(); err != nil {
			q.note(err)
			q.attempt++
			continue
		}
		q.timer = q.x.loop.AfterFunc(q.policy.timeout, q.timedOut)
		return
	}
	q.end(reply{err: q.steps[len(q.steps)-1].Err})
}

func (q *query) send() (err error) {
	q.server = q.x.server(q.server.addr) // it may have been forgotten, when q left its last socket
	if q.tcp {
		err = q.server.sendTCP(q)
	} else {
		err = q.server.sendUDP(q)
	}
	q.server.forgetIfUnused()
	return err
}

// again sends the query once more, within the attempt.
func (q *query) again() {
	q.detach()
	if err := q.send(); err != nil {
		q.fail(err)
	}
}

func (q *query) againOverTCP() {
	q.tcp = true
	q.again()
}

// againWithoutEDNS reports whether the query had EDNS.
func (q *query) againWithoutEDNS() bool {
	if q.plain {
		return false
	}
	q.plain = true
	q.again()
	return true
}

// fail ends the attempt, and begins the next one.
func (q *query) fail(err error) {
	q.stop()
	q.note(err)
	q.attempt++
	q.try()
}

func (q *query) note(err error) {
	q.steps = append(q.steps, Step{Server: q.server.addr, TCP: q.tcp, Err: err})
}

func (q *query) timedOut() {
	if q.done == nil { // it ended in this turn
		return
	}
	if q.stream != nil {
		q.stream.suspect(q)
	}
	q.fail(errServerTimeout)
}

// received handles a message that responds to q, which has arrived over UDP or TCP.
func (q *query) received(msg []byte, cut bool) {
	if cut {
		q.againOverTCP()
		return
	}
	dnswire.RestoreCase(msg, &q.sent)
	r, err := dnswire.Parse(msg, q.question)
	if err != nil {
		q.fail(err)
		return
	}
	switch r.Kind {
	case dnswire.Positive, dnswire.NoData, dnswire.NXDomain:
		q.end(reply{response: r, server: q.server.addr, tcp: q.tcp})
	case dnswire.Truncated:
		if q.tcp {
			q.fail(errors.New("response over TCP is truncated"))
			return
		}
		q.againOverTCP()
	case dnswire.FormatError:
		q.server.plain = !q.plain || q.server.plain
		if !q.againWithoutEDNS() {
			q.fail(&rcodeError{r.Rcode, r.Explanations})
		}
	case dnswire.Referral, dnswire.Incomplete:
		q.fail(fmt.Errorf("%v: the server does not resolve names for others", r.Kind))
	default:
		q.fail(&rcodeError{r.Rcode, r.Explanations})
	}
}

// receivedWithoutQuestion handles an error of a server that repeats no question. It is weak evidence,
// so nothing is concluded from it but to ask in another way.
func (q *query) receivedWithoutQuestion() {
	switch {
	case q.againWithoutEDNS():
	case !q.tcp:
		q.againOverTCP()
	default:
		q.fail(errors.New("the server reports an error without repeating the question"))
	}
}

// end ends the query, and has its reply delivered.
func (q *query) end(r reply) {
	q.stop()
	r.steps = q.steps
	q.x.replies = append(q.x.replies, pendingReply{q.done, r})
	q.done = nil
	delete(q.x.queries, q)
	if len(q.x.replies) == 1 {
		q.x.deliverLater()
	}
}

// cancel ends the query without a reply. It has no effect on one that has ended: its reply is
// delivered.
func (q *query) cancel() {
	q.stop()
	q.done = nil
	delete(q.x.queries, q)
}

// stop ends the current attempt.
func (q *query) stop() {
	q.detach()
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
}

// detach takes the query off its socket or stream.
func (q *query) detach() {
	if u := q.socket; u != nil {
		q.socket = nil
		u.detach(q)
	}
	if s := q.stream; s != nil {
		q.stream = nil
		s.detach(q)
	}
}

// A Step is an attempt of a lookup that has failed.
type Step struct {
	Server netip.AddrPort
	TCP    bool  // over TCP; otherwise over UDP
	Err    error // why
}

// String returns the step in one line.
func (s Step) String() string { return fmt.Sprintf("%v %s: %v", s.Server, transport(s.TCP), s.Err) }

func transport(tcp bool) string {
	if tcp {
		return "tcp"
	}
	return "udp"
}
