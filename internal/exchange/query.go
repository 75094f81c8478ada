package exchange

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/wheel"
)

// A Query is one question to the servers of a policy, in turn. An attempt has one server and ends after
// Policy.Timeout: so the query ends within attempts × servers × timeout, besides the time in queues (queue.go),
// whatever the servers do. An attempt that fails earlier makes room for the next one.
//
// What was sent in an attempt stays in flight when the next one begins: a true answer that comes late ends the query
// as any other. Each has an ID, a port and a case of its own, so a forger must guess one of at most
// 2 × attempts × servers combinations.
type Query struct {
	x        *Exchanger
	question dnswire.Question
	policy   *Policy
	done     func(Reply) // nil once the query has ended
	edns     bool        // never without EDNS: it tests whether the server understands that

	prev, next *Query // in x.queries
	listed     bool

	servers  []*server // in the order in which they are asked, from first on
	first    int
	attempt  int // the current one, from 0
	waitsFor *server
	steps    []Step

	timer       wheel.Timer
	attemptEnds int64         // when the current attempt times out
	resendDue   bool          // timer is for resend
	current     *transmission // that of the current attempt; nil while the query waits
	newest      *transmission // the head of the list of all
	own         transmission  // the first one
}

// attempts is how many there are in all.
func (q *Query) attempts() int { return len(q.servers) * q.policy.Attempts }

// serverOf returns the server of an attempt.
func (q *Query) serverOf(attempt int) *server { return q.servers[(q.first+attempt)%len(q.servers)] }

// try begins attempts, from the current one on, until one has sent the query, or waits until it may.
func (q *Query) try() {
	for q.attempt < q.attempts() {
		if !q.serverOf(q.attempt).admit(q) || q.begin() {
			return
		}
	}
	q.endIfNothingLeft()
}

// attemptNow begins the current attempt, after it was admitted.
func (q *Query) attemptNow() {
	if !q.begin() {
		q.try()
	}
}

// begin begins the current attempt. If it fails, the next one is current.
func (q *Query) begin() bool {
	now := q.x.now()
	q.attemptEnds = now + int64(q.policy.Timeout)
	t := q.newTransmission(q.serverOf(q.attempt))
	q.current = t
	if err := t.send(); err != nil {
		t.note(err)
		q.current = nil
		q.attempt++
		return false
	}
	at := q.attemptEnds
	if delay, ok := t.server.resendAfter(); ok && !t.tcp && delay < q.policy.Timeout && q.attempt+1 < q.attempts() {
		q.resendDue, at = true, now+int64(delay)
	}
	q.x.startAlarm(&q.timer, at)
	return true
}

// fired is called when the attempt has timed out, or its query is to be sent once more.
func (q *Query) fired(*wheel.Timer) {
	switch {
	case q.resendDue:
		q.resendDue = false
		q.x.startAlarm(&q.timer, q.attemptEnds)
		q.resend()
	case q.current != nil:
		t := q.current
		t.timedOut()
		q.nextAttempt()
	default:
		q.endIfNothingLeft()
	}
}

// resend sends the query once more within the attempt: the first one, or its response, was probably lost. It goes
// to the next server that works, as the current one may have stopped.
func (q *Query) resend() {
	s := q.serverOf(q.attempt)
	for i := 1; i < len(q.servers); i++ {
		if other := q.serverOf(q.attempt + i); !other.failing {
			s = other
			break
		}
	}
	if !s.unlimited() {
		if s.queued() > 0 || !s.mayBegin() {
			return
		}
		s.begun()
	}
	t := q.newTransmission(s)
	if err := t.send(); err != nil {
		t.fail(err)
	}
}

// nextAttempt ends the current attempt, and begins the next one.
func (q *Query) nextAttempt() {
	q.x.stopAlarm(&q.timer)
	q.resendDue, q.current = false, nil
	for t := q.newest; t != nil; t = t.older {
		t.uncount()
	}
	q.attempt++
	q.try()
}

// endIfNothingLeft is called after the last attempt. If that has failed early, what was sent before
// has until its own attempt would have ended.
func (q *Query) endIfNothingLeft() {
	last, now := int64(0), q.x.now()
	for t := q.newest; t != nil; t = t.older {
		if t.inFlight() {
			last = max(last, t.deadline)
		}
	}
	if last > now {
		q.x.startAlarm(&q.timer, last)
		return
	}
	q.end(Reply{Err: q.steps[len(q.steps)-1].Err})
}

// end ends the query, and has its reply delivered.
func (q *Query) end(r Reply) {
	r.Steps = q.steps
	q.x.replies = append(q.x.replies, pendingReply{q.done, r})
	q.Cancel()
	q.x.deliverLater()
}

// Cancel ends the query without a reply. It has no effect on one that has ended: its reply is
// delivered.
func (q *Query) Cancel() {
	if q.done == nil {
		return
	}
	q.done = nil
	q.x.stopAlarm(&q.timer)
	if s := q.waitsFor; s != nil {
		s.leave(q)
	}
	for t := q.newest; t != nil; t = t.older {
		t.detach()
	}
	q.x.queries.remove(q)
}

// A Step is an attempt of a query that has failed.
type Step struct {
	Server netip.AddrPort
	TCP    bool          // over TCP; otherwise over UDP
	Took   time.Duration // from sending to the failure
	Err    error         // why
}

// String returns the step in one line.
func (s Step) String() string { return fmt.Sprintf("%v %s: %v", s.Server, transport(s.TCP), s.Err) }

func transport(tcp bool) string {
	if tcp {
		return "tcp"
	}
	return "udp"
}
