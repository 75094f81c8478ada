package exchange

import (
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
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
	udp  func(q []byte, n int) []exchangetest.Message
	tcp  func(c net.Conn, q []byte, n int)
	want ending
	most int // queries, over UDP and TCP together
	tcpOnly,
	slow bool // it takes at least one timeout
}

func always(a func(q []byte) exchangetest.Message) func([]byte, int) []exchangetest.Message {
	return func(q []byte, _ int) []exchangetest.Message { return []exchangetest.Message{a(q)} }
}

// first sends something before the true answer.
func first(a func(q []byte) exchangetest.Message) func([]byte, int) []exchangetest.Message {
	return func(q []byte, _ int) []exchangetest.Message {
		return []exchangetest.Message{a(q), exchangetest.AnswerTo(q, exchangetest.TrueAddr)}
	}
}

// unless answers only queries for which bad is false; the others get a.
func unless(bad func(q []byte, n int) bool, a func(q []byte) exchangetest.Message) func([]byte, int) []exchangetest.Message {
	return func(q []byte, n int) []exchangetest.Message {
		switch {
		case !bad(q, n):
			return exchangetest.Honest(q)
		case a == nil:
			return nil
		}
		return []exchangetest.Message{a(q)}
	}
}

func withEDNS(q []byte, _ int) bool { return exchangetest.HasEDNS(q) }
func once(_ []byte, n int) bool     { return n == 1 }

// overTCP sends a frame.
func overTCP(a func(q []byte) exchangetest.Message) func(net.Conn, []byte, int) {
	return func(c net.Conn, q []byte, _ int) { c.Write(exchangetest.Frame(a(q))) }
}

func truth(q []byte) exchangetest.Message { return exchangetest.AnswerTo(q, exchangetest.TrueAddr) }

func forged(q []byte) exchangetest.Message   { return exchangetest.AnswerTo(q, exchangetest.ForgedAddr) }
func cutShort(q []byte) exchangetest.Message { return exchangetest.AnswerTo(q).Truncated() }
func withID(q []byte) exchangetest.Message   { a := forged(q); a[1]++; return a }
func withName(q []byte) exchangetest.Message {
	a := forged(q)
	a[exchangetest.QuestionOffset+1] = '-'
	return a
}

func withClass(q []byte) exchangetest.Message {
	a := forged(q)
	a[exchangetest.QuestionEnd(a)-1] = 3
	return a
}

func withType(q []byte) exchangetest.Message {
	a := forged(q)
	a[exchangetest.QuestionEnd(a)-3] = 28
	return a
}

func withCount(n byte) func(q []byte) exchangetest.Message {
	return func(q []byte) exchangetest.Message { a := forged(q); a[5] = n; return a }
}

func code(n byte) func(q []byte) exchangetest.Message {
	return func(q []byte) exchangetest.Message { return exchangetest.AnswerTo(q).Rcode(n) }
}

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
	{name: "the query itself", udp: first(func(q []byte) exchangetest.Message { return q }), most: 1},
	{name: "another opcode", udp: first(func(q []byte) exchangetest.Message { a := forged(q); a[2] |= 0x28; return a }), most: 1},
	{name: "an empty datagram", udp: first(func([]byte) exchangetest.Message { return nil }), most: 1},
	{name: "a header alone", udp: first(func(q []byte) exchangetest.Message { return forged(q)[:12] }), most: 1},
	{name: "wrong case", udp: func(q []byte, _ int) []exchangetest.Message { return []exchangetest.Message{forged(q).Recased()} }, tcp: overTCP(truth), most: 2},
	{name: "true answer twice", udp: func(q []byte, _ int) []exchangetest.Message {
		return []exchangetest.Message{truth(q), truth(q), forged(q)}
	}, most: 1},
	{name: "an error without question", udp: first(func(q []byte) exchangetest.Message { return code(1)(withCount(0)(q)) }), most: 2},
}

// liars send records that are not about the question, or malformed.
var liars = []hostileServer{
	{name: "records of another name as well", udp: always(func(q []byte) exchangetest.Message {
		return respond(q).address(label("other"), exchangetest.ForgedAddr).address(pointer, exchangetest.TrueAddr).address([]byte{0}, exchangetest.ForgedAddr).b
	}), most: 1},
	{name: "records of another name", udp: always(func(q []byte) exchangetest.Message {
		return respond(q).address(label("other"), exchangetest.ForgedAddr).b
	}), want: noData, most: 1},
	{name: "records of another class", udp: always(func(q []byte) exchangetest.Message {
		return respond(q).record(pointer, 1, 3, []byte{203, 0, 113, 66}).address(pointer, exchangetest.TrueAddr).b
	}), most: 1},
	{name: "an alias of another name", udp: always(func(q []byte) exchangetest.Message {
		return respond(q).cname(label("other"), label("victim")).address(label("victim"), exchangetest.ForgedAddr).b
	}), want: noData, most: 1},
	{name: "a loop of aliases", udp: always(func(q []byte) exchangetest.Message { return chain(q, 3, label("alias0")) }), want: failed, most: 2},
	{name: "an alias of itself", udp: always(func(q []byte) exchangetest.Message { return respond(q).cname(pointer, pointer).b }), want: failed, most: 2},
	{name: "a chain of 16 aliases", udp: always(func(q []byte) exchangetest.Message { return chain(q, dnswire.MaxChain, nil) }), most: 1},
	{name: "a chain of 17 aliases", udp: always(func(q []byte) exchangetest.Message { return chain(q, dnswire.MaxChain+1, nil) }), want: failed, most: 2},
	{name: "a compression pointer to itself", udp: always(func(q []byte) exchangetest.Message {
		at := byte(len(exchangetest.AnswerTo(q)))
		return respond(q).address([]byte{0xc0, at}, exchangetest.ForgedAddr).b
	}), want: failed, most: 2},
	{name: "a compression pointer forwards", udp: always(func(q []byte) exchangetest.Message {
		at := byte(len(exchangetest.AnswerTo(q)))
		return respond(q).address([]byte{0xc0, at + 2}, exchangetest.ForgedAddr).b
	}), want: failed, most: 2},
	{name: "RDLENGTH 5", udp: always(func(q []byte) exchangetest.Message {
		return respond(q).record(pointer, 1, 1, []byte{203, 0, 113, 66, 0}).b
	}), want: failed, most: 2},
	{name: "RDLENGTH 3", udp: always(func(q []byte) exchangetest.Message { return respond(q).record(pointer, 1, 1, []byte{203, 0, 113}).b }), want: failed, most: 2},
	{name: "RDLENGTH past the end", udp: always(func(q []byte) exchangetest.Message {
		a := respond(q).address(pointer, exchangetest.ForgedAddr).b
		return a[:len(a)-1]
	}), want: failed, most: 2},
	{name: "fewer records than counted", udp: always(func(q []byte) exchangetest.Message { a := forged(q); a[7] = 9; return a }), want: failed, most: 2},
	{name: "an address with NXDOMAIN", udp: always(func(q []byte) exchangetest.Message { return forged(q).Rcode(3) }), want: noName, most: 1},
	{name: "an address with SERVFAIL", udp: always(func(q []byte) exchangetest.Message { return forged(q).Rcode(2) }), want: failed, most: 2},
}

// cutters truncate over UDP, and then do something over TCP.
var cutters = []hostileServer{
	{name: "truncated, whole", udp: always(cutShort), tcp: overTCP(truth), most: 2},
	{name: "truncated with an address", udp: always(func(q []byte) exchangetest.Message { return forged(q).Truncated() }), tcp: overTCP(truth), most: 2},
	{name: "a datagram of 4 KiB", udp: always(func(q []byte) exchangetest.Message { return append(forged(q), make([]byte, 4000)...) }), tcp: overTCP(truth), most: 2},
	{name: "one byte at a time", udp: always(cutShort), tcp: func(c net.Conn, q []byte, _ int) {
		for _, b := range exchangetest.Frame(truth(q)) {
			time.Sleep(10 * time.Millisecond)
			c.Write([]byte{b})
		}
	}, most: 2},
	{name: "as long as a message can be", udp: always(cutShort), tcp: overTCP(func(q []byte) exchangetest.Message {
		w := respond(q).address(pointer, exchangetest.TrueAddr)
		for most := dnswire.MaxMessageBytes - 300; len(w.b) < most; {
			w.record(label("other"), 16, 1, append([]byte{200}, make([]byte, 200)...))
		}
		return w.b
	}), most: 2},
	{name: "stalled", udp: always(cutShort), tcp: func(c net.Conn, q []byte, _ int) { c.Write(exchangetest.Frame(truth(q))[:20]) }, want: failed, most: 4, slow: true},
	{name: "silent", udp: always(cutShort), tcp: func(net.Conn, []byte, int) {}, want: failed, most: 4, slow: true},
	{name: "cut", udp: always(cutShort), tcp: func(c net.Conn, q []byte, _ int) { c.Write(exchangetest.Frame(truth(q))[:20]); c.Close() }, want: failed, most: 4},
	{name: "closed", udp: always(cutShort), tcp: func(c net.Conn, _ []byte, _ int) { c.Close() }, want: failed, most: 4},
	{name: "closed once", udp: always(cutShort), tcp: func(c net.Conn, q []byte, n int) {
		if n == 1 {
			c.Close()
			return
		}
		c.Write(exchangetest.Frame(truth(q)))
	}, most: 4},
	{name: "garbage", udp: always(cutShort), tcp: func(c net.Conn, _ []byte, _ int) { c.Write(make([]byte, 10_000)) }, want: failed, most: 4},
	{name: "another question", udp: always(cutShort), tcp: overTCP(withName), want: failed, most: 4, slow: true},
	{name: "another question first", udp: always(cutShort), tcp: func(c net.Conn, q []byte, _ int) {
		c.Write(slices.Concat(exchangetest.Frame(withName(q)), exchangetest.Frame(withID(q)), exchangetest.Frame(nil), exchangetest.Frame(truth(q))))
	}, most: 2},
	{name: "truncated over TCP, too", udp: always(cutShort), tcp: overTCP(cutShort), want: failed, most: 4},
	{name: "no TCP", udp: always(cutShort), want: failed, most: 4},
	{name: "a connection for each answer", tcpOnly: true, udp: always(forged), tcp: func(c net.Conn, q []byte, _ int) { c.Write(exchangetest.Frame(truth(q))); c.Close() }, most: 1},
}

// oldServers do not understand all that a query has.
var oldServers = []hostileServer{
	{name: "FORMERR for EDNS", udp: unless(withEDNS, code(1)), most: 2},
	{name: "NOTIMP for EDNS", udp: unless(withEDNS, code(4)), most: 2},
	{name: "BADVERS for EDNS", udp: unless(withEDNS, func(q []byte) exchangetest.Message { return respond(q).extended(1) }), most: 2},
	{name: "a header with FORMERR for EDNS", udp: unless(withEDNS, func(q []byte) exchangetest.Message { return code(1)(withCount(0)(q))[:12] }), most: 2},
	{name: "silence for EDNS", udp: unless(withEDNS, nil), most: 3, slow: true}, // a test of EDNS follows
	{name: "FORMERR always", udp: always(code(1)), want: failed, most: 3},
	{name: "lower case", udp: always(func(q []byte) exchangetest.Message { return truth(q).Lowered() }), tcp: overTCP(func(q []byte) exchangetest.Message { return truth(q).Lowered() }), most: 2},
	{name: "lower case without TCP", udp: always(func(q []byte) exchangetest.Message { return truth(q).Lowered() }), most: 3},
	{name: "lower case and silence over TCP", udp: always(func(q []byte) exchangetest.Message { return truth(q).Lowered() }), tcp: func(net.Conn, []byte, int) {}, most: 3, slow: true},
	{name: "lower case and closed TCP", udp: always(func(q []byte) exchangetest.Message { return truth(q).Lowered() }), tcp: func(c net.Conn, _ []byte, _ int) { c.Close() }, most: 3},
}

// brokenServers have no answer, now or ever.
var brokenServers = []hostileServer{
	{name: "honest", udp: always(truth), most: 1},
	{name: "SERVFAIL once", udp: unless(once, code(2)), most: 2},
	{name: "SERVFAIL", udp: always(code(2)), want: failed, most: 2},
	{name: "REFUSED", udp: always(code(5)), want: failed, most: 2},
	{name: "silence once", udp: unless(once, nil), most: 3, slow: true}, // a test of EDNS follows
	{name: "silence", udp: func([]byte, int) []exchangetest.Message { return nil }, want: failed, most: 2, slow: true},
	{name: "NXDOMAIN", udp: always(func(q []byte) exchangetest.Message { return respond(q).soa().Rcode(3) }), want: noName, most: 1},
	{name: "NODATA", udp: always(func(q []byte) exchangetest.Message { return respond(q).soa() }), want: noData, most: 1},
	{name: "a referral", udp: always(func(q []byte) exchangetest.Message {
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
			s := &exchangetest.Server{}
			if c.udp != nil {
				s.UDP = func(q []byte) []exchangetest.Message { return c.udp(q, s.Queries[0]) }
			}
			if c.tcp != nil {
				s.TCP = func(conn net.Conn, q []byte) { c.tcp(conn, q, s.Queries[1]) }
			}
			onTestNet(t, func(n *testNet) {
				n.policy.Timeout, n.policy.Attempts, n.policy.TCP = timeout, attempts, c.tcpOnly
				began := time.Now()
				r := n.ask("www.example.com")
				took := time.Since(began)
				if got := n.endingOf(r); got != c.want {
					t.Errorf("%v: records %v, error %v, steps %v; want %v", got, r.Response.Records, r.Err, r.Steps, c.want)
				}
				if took > attempts*(timeout+lateness) || took < timeout && c.slow || took > time.Second && !c.slow {
					t.Errorf("took %v; a timeout is %v", took, timeout)
				}
				time.Sleep(time.Minute)
				synctest.Wait() // for the race detector, as elsewhere: the server waits for the next query
				if sent := s.Queries[0] + s.Queries[1]; sent > c.most {
					t.Errorf("%d queries over UDP and %d over TCP, want %d in all at most", s.Queries[0], s.Queries[1], c.most)
				}
			}, s)
		})
	}
}

// lateness is how late the timer of an attempt may be: both wheels round up to a millisecond.
const lateness = 3 * time.Millisecond

// endingOf returns how a query has ended, and checks that nothing in it is false.
func (n *testNet) endingOf(r Reply) ending {
	n.T.Helper()
	answers := r.Response.Answers()
	for _, rec := range answers {
		if rec.Addr.String() != exchangetest.TrueAddr {
			n.T.Errorf("the result has the address %v", rec.Addr)
		}
	}
	switch {
	case r.Err != nil && len(r.Response.Records) > 0:
		n.T.Errorf("records with the error %v", r.Err)
	case r.Err != nil:
		return failed
	case r.Response.Kind == dnswire.NXDomain:
		return noName
	case len(answers) == 0:
		return noData
	}
	return resolved
}
