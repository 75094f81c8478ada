package exchange

import (
	"errors"
	"fmt"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
)

// ednsBytes is the largest UDP response that queries announce: it passes every path without fragments, which
// are easier to forge (DNS Flag Day 2020).
const ednsBytes = 1232

// A transmission is a query on its way to one server. Responses can make it go on in another way: over TCP, without
// EDNS, or alone on a socket. Each of these happens at most once, so a server cannot make it go on for ever.
type transmission struct {
	q        *Query
	server   *server
	older    *transmission // of the same query
	sentAt   int64
	deadline int64 // when its attempt times out
	noted    bool  // there is a Step for it
	counted  bool  // in server.inFlight: only during its attempt, so that what is late takes no room that its query waits for

	plain    bool // without EDNS
	tcp      bool
	alone    bool // the only one on its socket, in whatever case the response is
	caseLost bool // the server does not repeat the case of the name: why it is over TCP
	reopened bool // sent again, because a stream ended that had been used before

	// Where it waits for its response: at most one of them.
	sent     dnswire.Sent
	socket   *udpSocket
	stream   *stream
	sequence uint64 // value of stream.sent
}

// newTransmission prepares a transmission to s, in the way that suits it.
func (q *Query) newTransmission(s *server) *transmission {
	t := &q.own
	if q.newest != nil {
		t = new(transmission)
	}
	letterCase, noTCP := s.loses()
	*t = transmission{
		q: q, server: s, older: q.newest, deadline: q.attemptEnds,
		plain: !q.edns && s.withoutEDNS(), tcp: q.policy.TCP || letterCase && !noTCP, alone: letterCase && noTCP && !q.policy.TCP,
		caseLost: letterCase,
	}
	q.newest = t
	return t
}

func (t *transmission) send() (err error) {
	switch {
	case t.tcp:
		err = t.server.sendTCP(t)
	case t.alone:
		err = t.server.sendAlone(t)
	default:
		err = t.server.sendUDP(t)
	}
	if err != nil {
		t.detach()
	}
	return err
}

// sendAgain sends the transmission in another way, within the attempt.
func (t *transmission) sendAgain() {
	t.detach()
	if t != t.q.current && t.q.current != nil {
		t.deadline = t.q.attemptEnds // a late response has shown that this server works: it gets the time of the current attempt
	}
	if err := t.send(); err != nil {
		t.failOver(err)
	}
}

func (t *transmission) againOverTCP() {
	t.tcp = true
	t.sendAgain()
}

// againWithoutEDNS reports whether it had EDNS.
func (t *transmission) againWithoutEDNS() bool {
	if t.plain || t.q.edns {
		return false
	}
	t.plain = true
	t.sendAgain()
	return true
}

// loseCase is called for a response in another case than that of the query, which may be forged. Forging is harder
// over TCP. Some servers that lose the case, such as those of home routers, do not listen on TCP.
func (t *transmission) loseCase() {
	t.caseLost = true
	if _, noTCP := t.server.loses(); noTCP {
		t.alone = true
		t.sendAgain()
		return
	}
	t.againOverTCP()
}

// failOver is fail, but a transmission that is over TCP only because of the case of its name is sent alone on a
// socket instead.
func (t *transmission) failOver(err error) {
	if t.tcp && t.caseLost && !t.alone && !t.q.policy.TCP {
		t.server.lacksTCP()
		t.tcp, t.alone = false, true
		t.sendAgain()
		return
	}
	t.fail(err)
}

// fail ends the transmission. If it is the current one, the next attempt begins.
func (t *transmission) fail(err error) {
	t.detach()
	t.note(err)
	switch q := t.q; {
	case t == q.current:
		q.nextAttempt()
	case q.current == nil && q.waitsFor == nil:
		q.endIfNothingLeft()
	}
}

// timedOut is called at the end of an attempt. The transmission stays in flight.
func (t *transmission) timedOut() {
	if t.stream != nil {
		t.stream.suspect(t)
	}
	t.server.silent(t)
	t.note(ErrTimeout)
}

// note adds a Step, unless there is one.
func (t *transmission) note(err error) {
	if t.noted {
		return
	}
	t.noted = true
	took := time.Duration(0)
	if t.sentAt > 0 {
		took = time.Duration(t.q.x.now() - t.sentAt)
	}
	t.q.steps = append(t.q.steps, Step{Server: t.server.addr, TCP: t.tcp, Took: took, Err: err})
}

// received handles a message that responds to t, which has arrived over UDP or TCP.
func (t *transmission) received(msg []byte, cut bool) {
	if cut && !t.tcp {
		t.againOverTCP()
		return
	}
	dnswire.RestoreCase(msg, &t.sent)
	r, err := t.q.x.parser.Parse(msg, t.q.question)
	if err != nil {
		t.fail(err)
		return
	}
	switch r.Kind {
	case dnswire.Positive, dnswire.NoData, dnswire.NXDomain:
		t.server.understood(t)
		path := t.server.overUDP
		if t.tcp {
			path = t.server.overTCP
		}
		t.q.end(Reply{Response: r, Server: t.server.addr, Path: path, TCP: t.tcp})
	case dnswire.Truncated:
		t.server.understood(t)
		if t.tcp {
			t.fail(errTruncatedTCP)
			return
		}
		t.againOverTCP()
	case dnswire.FormatError:
		if !t.plain {
			t.server.rejectedEDNS()
		}
		if !t.againWithoutEDNS() {
			t.fail(&RcodeError{r.Rcode, r.Explanations})
		}
	case dnswire.Referral, dnswire.Incomplete:
		t.fail(fmt.Errorf("%v: the server does not resolve names for others", r.Kind))
	default:
		t.server.understood(t)
		t.fail(&RcodeError{r.Rcode, r.Explanations})
	}
}

// receivedWithoutQuestion handles an error of a server that repeats no question, and reports whether it may be of
// use. It is weak evidence: nothing is concluded from it but to ask without EDNS, once.
func (t *transmission) receivedWithoutQuestion() bool {
	switch {
	case t.againWithoutEDNS():
	case t.tcp:
		t.fail(errNoQuestion)
	default:
		return false
	}
	return true
}

var (
	errTruncatedTCP = errors.New("response over TCP is truncated")
	errNoQuestion   = errors.New("the server reports an error without repeating the question")
)

// appendQuery appends what is sent, with a new ID that is not in use, and a new case.
func (t *transmission) appendQuery(b []byte, inFlight *idTable) ([]byte, error) {
	x, q := t.q.x, t.q
	if inFlight.n >= maxInTable {
		return b, errTooMany
	}
	id := uint16(x.random())
	for inFlight.get(id) != nil { // few of the IDs are in use
		id = uint16(x.random())
	}
	t.sent.ID, t.sent.Question = id, q.question
	for i := range (len(q.question.Name) + 63) / 64 {
		t.sent.Case[i] = x.random()
	}
	o := dnswire.QueryOptions{RecursionDesired: true, TrustAD: q.policy.TrustAD, Case: t.sent.Case}
	if !t.plain {
		o.EDNSSize = ednsBytes
	}
	t.sentAt = x.now()
	return dnswire.AppendQuery(b, id, q.question, o)
}

var errTooMany = errors.New("too many queries wait for responses on one socket, and no more sockets can be opened")

// inFlight reports whether a response can still arrive.
func (t *transmission) inFlight() bool { return t.socket != nil || t.stream != nil }

// attach is called by a socket or stream that has t.
func (t *transmission) attach(u *udpSocket, st *stream) {
	t.socket, t.stream = u, st
	t.server.sent.Add(1)
	if t.q.current != nil {
		t.counted = true
		t.server.attached()
	}
}

// detach takes t off its socket or stream, if it is on one: no response can reach it any more.
func (t *transmission) detach() {
	t.uncount()
	if u := t.socket; u != nil {
		t.socket = nil
		u.detach(t)
	}
	if st := t.stream; st != nil {
		t.stream = nil
		st.detach(t)
	}
}

// uncount makes room for another query.
func (t *transmission) uncount() {
	if t.counted {
		t.counted = false
		t.server.detached()
	}
}
