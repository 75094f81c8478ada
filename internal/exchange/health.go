package exchange

import (
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
)

const (
	// maxFailures is after how many attempts without a response, in succession, a server fails.
	maxFailures = 2
	// testInterval is how often a server that fails is tested.
	testInterval = 30 * time.Second
	// minSamples is how many responses a server must have sent before its mean RTT means anything.
	minSamples = 3
	// A query is sent once more, early, if there is no response within resendFactor times the mean RTT, and at
	// least minResend: half around the globe. A resolver that does not know the answer takes longer than the mean.
	resendFactor = 5
	minResend    = 250 * time.Millisecond
	// rttWeight is the weight of the past in the mean RTT: that of so many responses.
	rttWeight = 7
	// quirkPeriod is for how long a quirk of a server is remembered. It may be replaced.
	quirkPeriod = 15 * time.Minute
)

// health is whether a server responds, and how soon.
type health struct {
	samples  int  // responses, up to minSamples
	failures int  // attempts without a response, since the last one
	failing  bool // it is asked after the others
	testAt   int64
}

// quirks is what a server does not do as it should. Each time is until when it is assumed.
type quirks struct {
	plainUntil     int64 // it does not understand EDNS
	caseLostUntil  int64 // it does not repeat the case of names
	noTCPUntil     int64 // it does not listen on TCP, although its case makes that necessary
	silences       int   // timeouts of queries with EDNS, since the last response to one
	plainNext      bool  // the last timeout was that of a query with EDNS
	ednsAnswered   bool  // it has responded to EDNS
	plainBySilence bool  // plainUntil is a guess
}

// responded is called for each response of the server to t.
func (s *server) responded(t *transmission, v dnswire.Verdict) {
	now := s.x.now()
	s.answered.Add(1)
	rtt := max(now-t.sentAt, 1)
	if mean := s.meanRTT.Load(); mean != 0 {
		rtt = (mean*rttWeight + rtt) / (rttWeight + 1)
	}
	s.meanRTT.Store(rtt)
	s.samples = min(s.samples+1, minSamples)
	s.failures = 0
	s.setFailing(false)
	if v == dnswire.CaseLost && !t.tcp && !t.alone {
		s.caseLostUntil = now + int64(quirkPeriod)
		s.losesCase.Store(true)
	} else if v == dnswire.Matched && s.losesCase.Load() && !t.tcp {
		s.caseLostUntil = 0
		s.losesCase.Store(false)
	}
}

// understood is called if the response of the server shows that it has understood t.
func (s *server) understood(t *transmission) {
	switch {
	case !t.plain:
		s.ednsAnswered, s.silences, s.plainNext = true, 0, false
		if s.plainBySilence {
			s.setPlain(0, false)
		}
	case !s.ednsAnswered && s.silences > 0 && s.plainUntil == 0:
		// It was silent with EDNS, and answers without. It may drop what it does not know, as some middleboxes
		// do; or the other query was lost, which a test finds out.
		s.setPlain(s.x.now()+int64(quirkPeriod), true)
		s.test(t.q, true)
	}
}

// rejectedEDNS is called if the server has reported that it does not understand t, which has EDNS.
func (s *server) rejectedEDNS() { s.setPlain(s.x.now()+int64(quirkPeriod), false) }

func (s *server) setPlain(until int64, bySilence bool) {
	s.plainUntil, s.plainBySilence = until, bySilence
	s.noEDNS.Store(until != 0)
}

// withoutEDNS reports whether a query is sent without EDNS. A server that may drop EDNS gets the next query without, and
// if it is silent again, one with EDNS: silence has other causes as well, and answers without EDNS are cut at 512 bytes.
func (s *server) withoutEDNS() bool {
	if s.plainUntil != 0 && s.x.now() >= s.plainUntil {
		s.setPlain(0, false)
		s.silences, s.plainNext, s.ednsAnswered = 0, false, false
	}
	return s.plainUntil != 0 || s.plainNext && !s.ednsAnswered
}

// loses reports whether the server is known to lose the case of names, and whether TCP is of no help.
func (s *server) loses() (letterCase, tcp bool) {
	if s.caseLostUntil == 0 {
		return false, false
	}
	now := s.x.now()
	if now >= s.caseLostUntil {
		s.caseLostUntil = 0
		s.losesCase.Store(false)
	}
	return now < s.caseLostUntil, now < s.noTCPUntil
}

func (s *server) lacksTCP() { s.noTCPUntil = s.x.now() + int64(quirkPeriod) }

// silent is called when an attempt has timed out.
func (s *server) silent(t *transmission) {
	s.timedOut.Add(1)
	if !t.tcp {
		s.plainNext = !t.plain
		if !t.plain {
			s.silences++
		}
	}
	if t.tcp && t.caseLost {
		s.lacksTCP()
	}
	if t.q.edns { // the server has just responded to another query
		return
	}
	if s.failures++; s.failures >= maxFailures {
		s.ednsAnswered = false
		s.setFailing(true)
	}
}

// unreachable is called when the system reports that the server cannot be reached.
func (s *server) unreachable() {
	s.failures = maxFailures
	s.setFailing(true)
}

func (s *server) setFailing(failing bool) {
	if failing && !s.failing {
		s.testAt = s.x.now() + int64(testInterval)
	}
	if s.failing == failing {
		return
	}
	s.failing = failing
	s.isFailing.Store(failing)
	switch {
	case !s.listed:
	case failing:
		s.x.failing++
	default:
		s.x.failing--
	}
}

// preferWorking moves the servers that fail to the end of the order of q. It tests those whose time has come.
func (x *Exchanger) preferWorking(q *Query) {
	n := len(q.servers)
	order := make([]*server, 0, n)
	for i := range n {
		if s := q.servers[(q.first+i)%n]; !s.failing {
			order = append(order, s)
		}
	}
	if len(order) == 0 || len(order) == n { // without a better one, each is asked in its turn
		return
	}
	for i := range n {
		s := q.servers[(q.first+i)%n]
		if !s.failing {
			continue
		}
		order = append(order, s)
		if x.now() >= s.testAt {
			s.testAt = x.now() + int64(testInterval)
			s.test(q, false)
		}
	}
	q.servers, q.first = order, 0
}

// test asks a server the question of q, in a query of its own, whose reply does not matter.
func (s *server) test(q *Query, edns bool) {
	x := s.x
	if q.edns || x.closed || x.queries.n >= x.limits.Queries {
		return
	}
	p := *q.policy
	p.Attempts, p.Rotate = 1, false
	t := &Query{x: x, question: q.question, policy: &p, servers: []*server{s}, done: func(Reply) {}, edns: edns}
	t.timer.Fire = t.fired
	x.queries.add(t)
	t.try()
}

// resendAfter returns when a query that is sent to s now is sent once more; ok is false if too little is
// known.
func (s *server) resendAfter() (d time.Duration, ok bool) {
	if s.samples < minSamples {
		return 0, false
	}
	return max(resendFactor*time.Duration(s.meanRTT.Load()), minResend), true
}
