package dns

import (
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
)

// ending is how a query to a hostile server ends.
type ending uint8

const (
	resolved ending = iota // the true address
	noData                 // no record
	noName
	failed // an error
)

// A hostileServer is one of the ways in which servers, or forgers, are known to behave.
type hostileServer struct {
	name string
	// udp and tcp return what is sent for the nth query, from 1.
	udp  func(q []byte, n int) []answer
	tcp  func(c net.Conn, q []byte, n int)
	want ending
	most int // queries, over UDP and TCP together
	tcpOnly,
	slow bool // it takes at least one timeout
}

func always(a func(q []byte) answer) func([]byte, int) []answer {
	return func(q []byte, _ int) []answer { return []answer{a(q)} }
}

// first sends something before the true answer.
func first(a func(q []byte) answer) func([]byte, int) []answer {
	return func(q []byte, _ int) []answer { return []answer{a(q), answerTo(q, trueAddr)} }
}

// unless answers only queries for which bad is false; the others get a.
func unless(bad func(q []byte, n int) bool, a func(q []byte) answer) func([]byte, int) []answer {
	return func(q []byte, n int) []answer {
		switch {
		case !bad(q, n):
			return honest(q)
		case a == nil:
			return nil
		}
		return []answer{a(q)}
	}
}

func withEDNS(q []byte, _ int) bool { return hasEDNS(q) }
func once(_ []byte, n int) bool     { return n == 1 }

// overTCP sends a frame.
func overTCP(a func(q []byte) answer) func(net.Conn, []byte, int) {
	return func(c net.Conn, q []byte, _ int) { c.Write(frame(a(q))) }
}

func truth(q []byte) answer     { return answerTo(q, trueAddr) }
func forged(q []byte) answer    { return answerTo(q, forgedAddr) }
func cutShort(q []byte) answer  { return answerTo(q).truncated() }
func withID(q []byte) answer    { a := forged(q); a[1]++; return a }
func withName(q []byte) answer  { a := forged(q); a[answerOffset+1] = '-'; return a }
func withClass(q []byte) answer { a := forged(q); a[questionEnd(a)-1] = 3; return a }
func withType(q []byte) answer  { a := forged(q); a[questionEnd(a)-3] = 28; return a }
func withCount(n byte) func(q []byte) answer {
	return func(q []byte) answer { a := forged(q); a[5] = n; return a }
}

func code(n byte) func(q []byte) answer { return func(q []byte) answer { return answerTo(q).rcode(n) } }

// hostileServers is the list. The policy has one server and two attempts of 5 s.
var hostileServers = slices.Concat(forgers, liars, cutters, oldServers, brokenServers)

// forgers guess, and miss: what they send must not end the query, and the true answer does.
var forgers = []hostileServer{
	{name: "wrong ID", udp: first(withID), most: 1},
	{name: "wrong name", udp: first(withName), most: 1},
	{name: "wrong class", udp: first(withClass), most: 1},
	{name: "wrong type", udp: first(withType), most: 1},
	{name: "two questions", udp: first(withCount(2)), most: 1},
	{name: "no question", udp: first(withCount(0)), most: 1},
	{name: "two questions always", udp: always(withCount(2)), want: failed, most: 2, slow: true},
	{name: "no question always", udp: always(withCount(0)), want: failed, most: 2, slow: true},
	{name: "the query itself", udp: first(func(q []byte) answer { return q }), most: 1},
	{name: "another opcode", udp: first(func(q []byte) answer { a := forged(q); a[2] |= 0x28; return a }), most: 1},
	{name: "an empty datagram", udp: first(func([]byte) answer { return nil }), most: 1},
	{name: "a header alone", udp: first(func(q []byte) answer { return forged(q)[:12] }), most: 1},
	{name: "wrong case", udp: func(q []byte, _ int) []answer { return []answer{forged(q).recased()} }, tcp: overTCP(truth), most: 2},
	{name: "true answer twice", udp: func(q []byte, _ int) []answer { return []answer{truth(q), truth(q), forged(q)} }, most: 1},
	{name: "an error without question", udp: first(func(q []byte) answer { return code(1)(withCount(0)(q)) }), most: 2},
}

// liars send records that are not about the question, or malformed.
var liars = []hostileServer{
	{name: "records of another name as well", udp: always(func(q []byte) answer {
		return respond(q).address(label("other"), forgedAddr).address(pointer, trueAddr).address([]byte{0}, forgedAddr).b
	}), most: 1},
	{name: "records of another name", udp: always(func(q []byte) answer { return respond(q).address(label("other"), forgedAddr).b }), want: noData, most: 1},
	{name: "records of another class", udp: always(func(q []byte) answer {
		return respond(q).record(pointer, 1, 3, []byte{203, 0, 113, 66}).address(pointer, trueAddr).b
	}), most: 1},
	{name: "an alias of another name", udp: always(func(q []byte) answer {
		return respond(q).cname(label("other"), label("victim")).address(label("victim"), forgedAddr).b
	}), want: noData, most: 1},
	{name: "a loop of aliases", udp: always(func(q []byte) answer { return chain(q, 3, label("alias0")) }), want: failed, most: 2},
	{name: "an alias of itself", udp: always(func(q []byte) answer { return respond(q).cname(pointer, pointer).b }), want: failed, most: 2},
	{name: "a chain of 16 aliases", udp: always(func(q []byte) answer { return chain(q, dnswire.MaxChain, nil) }), most: 1},
	{name: "a chain of 17 aliases", udp: always(func(q []byte) answer { return chain(q, dnswire.MaxChain+1, nil) }), want: failed, most: 2},
	{name: "a compression pointer to itself", udp: always(func(q []byte) answer {
		at := byte(len(answerTo(q)))
		return respond(q).address([]byte{0xc0, at}, forgedAddr).b
	}), want: failed, most: 2},
	{name: "a compression pointer forwards", udp: always(func(q []byte) answer {
		at := byte(len(answerTo(q)))
		return respond(q).address([]byte{0xc0, at + 2}, forgedAddr).b
	}), want: failed, most: 2},
	{name: "RDLENGTH 5", udp: always(func(q []byte) answer { return respond(q).record(pointer, 1, 1, []byte{203, 0, 113, 66, 0}).b }), want: failed, most: 2},
	{name: "RDLENGTH 3", udp: always(func(q []byte) answer { return respond(q).record(pointer, 1, 1, []byte{203, 0, 113}).b }), want: failed, most: 2},
	{name: "RDLENGTH past the end", udp: always(func(q []byte) answer {
		a := respond(q).address(pointer, forgedAddr).b
		return a[:len(a)-1]
	}), want: failed, most: 2},
	{name: "fewer records than counted", udp: always(func(q []byte) answer { a := forged(q); a[7] = 9; return a }), want: failed, most: 2},
	{name: "an address with NXDOMAIN", udp: always(func(q []byte) answer { return forged(q).rcode(3) }), want: noName, most: 1},
	{name: "an address with SERVFAIL", udp: always(func(q []byte) answer { return forged(q).rcode(2) }), want: failed, most: 2},
}

// cutters truncate over UDP, and then do something over TCP.
var cutters = []hostileServer{
	{name: "truncated, whole", udp: always(cutShort), tcp: overTCP(truth), most: 2},
	{name: "truncated with an address", udp: always(func(q []byte) answer { return forged(q).truncated() }), tcp: overTCP(truth), most: 2},
	{name: "a datagram of 4 KiB", udp: always(func(q []byte) answer { return append(forged(q), make([]byte, 4000)...) }), tcp: overTCP(truth), most: 2},
	{name: "one byte at a time", udp: always(cutShort), tcp: func(c net.Conn, q []byte, _ int) {
		for _, b := range frame(truth(q)) {
			time.Sleep(10 * time.Millisecond)
			c.Write([]byte{b})
		}
	}, most: 2},
	{name: "as long as a message can be", udp: always(cutShort), tcp: overTCP(func(q []byte) answer {
		w := respond(q).address(pointer, trueAddr)
		for most := dnswire.MaxMessageBytes - 300; len(w.b) < most; {
			w.record(label("other"), 16, 1, append([]byte{200}, make([]byte, 200)...))
		}
		return w.b
	}), most: 2},
	{name: "stalled", udp: always(cutShort), tcp: func(c net.Conn, q []byte, _ int) { c.Write(frame(truth(q))[:20]) }, want: failed, most: 4, slow: true},
	{name: "silent", udp: always(cutShort), tcp: func(net.Conn, []byte, int) {}, want: failed, most: 4, slow: true},
	{name: "cut", udp: always(cutShort), tcp: func(c net.Conn, q []byte, _ int) { c.Write(frame(truth(q))[:20]); c.Close() }, want: failed, most: 4},
	{name: "closed", udp: always(cutShort), tcp: func(c net.Conn, _ []byte, _ int) { c.Close() }, want: failed, most: 4},
	{name: "closed once", udp: always(cutShort), tcp: func(c net.Conn, q []byte, n int) {
		if n == 1 {
			c.Close()
			return
		}
		c.Write(frame(truth(q)))
	}, most: 4},
	{name: "garbage", udp: always(cutShort), tcp: func(c net.Conn, _ []byte, _ int) { c.Write(make([]byte, 10_000)) }, want: failed, most: 4},
	{name: "another question", udp: always(cutShort), tcp: overTCP(withName), want: failed, most: 4, slow: true},
	{name: "another question first", udp: always(cutShort), tcp: func(c net.Conn, q []byte, _ int) {
		c.Write(slices.Concat(frame(withName(q)), frame(withID(q)), frame(nil), frame(truth(q))))
	}, most: 2},
	{name: "truncated over TCP, too", udp: always(cutShort), tcp: overTCP(cutShort), want: failed, most: 4},
	{name: "no TCP", udp: always(cutShort), want: failed, most: 4},
	{name: "a connection for each answer", tcpOnly: true, udp: always(forged), tcp: func(c net.Conn, q []byte, _ int) { c.Write(frame(truth(q))); c.Close() }, most: 1},
}

// oldServers do not understand all that a query has.
var oldServers = []hostileServer{
	{name: "FORMERR for EDNS", udp: unless(withEDNS, code(1)), most: 2},
	{name: "NOTIMP for EDNS", udp: unless(withEDNS, code(4)), most: 2},
	{name: "BADVERS for EDNS", udp: unless(withEDNS, func(q []byte) answer { return respond(q).extended(1) }), most: 2},
	{name: "a header with FORMERR for EDNS", udp: unless(withEDNS, func(q []byte) answer { return code(1)(withCount(0)(q))[:12] }), most: 2},
	{name: "silence for EDNS", udp: unless(withEDNS, nil), most: 3, slow: true}, // a test of EDNS follows
	{name: "FORMERR always", udp: always(code(1)), want: failed, most: 3},
	{name: "lower case", udp: always(func(q []byte) answer { return truth(q).lowered() }), tcp: overTCP(func(q []byte) answer { return truth(q).lowered() }), most: 2},
	{name: "lower case without TCP", udp: always(func(q []byte) answer { return truth(q).lowered() }), most: 3},
	{name: "lower case and silence over TCP", udp: always(func(q []byte) answer { return truth(q).lowered() }), tcp: func(net.Conn, []byte, int) {}, most: 3, slow: true},
	{name: "lower case and closed TCP", udp: always(func(q []byte) answer { return truth(q).lowered() }), tcp: func(c net.Conn, _ []byte, _ int) { c.Close() }, most: 3},
}

// brokenServers have no answer, now or ever.
var brokenServers = []hostileServer{
	{name: "honest", udp: always(truth), most: 1},
	{name: "SERVFAIL once", udp: unless(once, code(2)), most: 2},
	{name: "SERVFAIL", udp: always(code(2)), want: failed, most: 2},
	{name: "REFUSED", udp: always(code(5)), want: failed, most: 2},
	{name: "silence once", udp: unless(once, nil), most: 3, slow: true}, // a test of EDNS follows
	{name: "silence", udp: func([]byte, int) []answer { return nil }, want: failed, most: 2, slow: true},
	{name: "NXDOMAIN", udp: always(func(q []byte) answer { return respond(q).soa().rcode(3) }), want: noName, most: 1},
	{name: "NODATA", udp: always(func(q []byte) answer { return respond(q).soa() }), want: noData, most: 1},
	{name: "a referral", udp: always(func(q []byte) answer {
		a := respond(q).record([]byte{0}, 2, 1, label("ns")).b
		a[7], a[9] = 0, 1
		return a
	}), want: failed, most: 2},
	{name: "nothing listens", want: failed, most: 0},
}

// Whatever a server or a forger does, a query ends with the true answer or an error, in the time of its attempts, and
// asks a bounded number of times.
func TestHostileServers(t *testing.T) {
	const timeout, attempts = 5 * time.Second, 2
	for _, c := range hostileServers {
		t.Run(c.name, func(t *testing.T) {
			s := &testServer{}
			if c.udp != nil {
				s.udp = func(q []byte) []answer { return c.udp(q, s.queries[0]) }
			}
			if c.tcp != nil {
				s.tcp = func(conn net.Conn, q []byte) { c.tcp(conn, q, s.queries[1]) }
			}
			onTestNet(t, func(n *testNet) {
				n.policy.timeout, n.policy.attempts, n.policy.tcp = timeout, attempts, c.tcpOnly
				began := time.Now()
				r := n.ask("www.example.com")
				took := time.Since(began)
				if got := n.endingOf(r); got != c.want {
					t.Errorf("%v: records %v, error %v, steps %v; want %v", got, r.response.Records, r.err, r.steps, c.want)
				}
				if took > attempts*(timeout+lateness) || took < timeout && c.slow || took > time.Second && !c.slow {
					t.Errorf("took %v; a timeout is %v", took, timeout)
				}
				time.Sleep(time.Minute)
				synctest.Wait() // for the race detector, as elsewhere: the server waits for the next query
				if sent := s.queries[0] + s.queries[1]; sent > c.most {
					t.Errorf("%d queries over UDP and %d over TCP, want %d in all at most", s.queries[0], s.queries[1], c.most)
				}
			}, s)
		})
	}
}

// lateness is how late the timer of an attempt may be: both wheels round up to a millisecond.
const lateness = 3 * time.Millisecond

// endingOf returns how a query has ended, and checks that nothing in it is false.
func (n *testNet) endingOf(r reply) ending {
	n.t.Helper()
	answers := r.response.Answers()
	for _, rec := range answers {
		if rec.Addr.String() != trueAddr {
			n.t.Errorf("the result has the address %v", rec.Addr)
		}
	}
	switch {
	case r.err != nil && len(r.response.Records) > 0:
		n.t.Errorf("records with the error %v", r.err)
	case r.err != nil:
		return failed
	case r.response.Kind == dnswire.NXDomain:
		return noName
	case len(answers) == 0:
		return noData
	}
	return resolved
}
