package dns

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/sock"
)

// An answer is what a test's server makes of a query.
type answer []byte

const answerOffset = 12 // of the question

// questionEnd returns the offset after the question of a message.
func questionEnd(msg []byte) int {
	at := answerOffset
	for msg[at] != 0 {
		at += 1 + int(msg[at])
	}
	return at + 1 + 4
}

// answerTo returns a response to a query, with an A or AAAA record for each address.
func answerTo(query []byte, addrs ...string) answer {
	b := slices.Clone(query[:questionEnd(query)])
	binary.BigEndian.PutUint16(b[2:], 0x8180) // QR RD RA
	binary.BigEndian.PutUint16(b[6:], uint16(len(addrs)))
	clear(b[8:12])
	for _, text := range addrs {
		addr := netip.MustParseAddr(text)
		typ, data := byte(1), addr.AsSlice()
		if addr.Is6() {
			typ = 28
		}
		b = append(b, 0xc0, answerOffset, 0, typ, 0, 1, 0, 0, 0, 60, 0, byte(len(data)))
		b = append(b, data...)
	}
	return b
}

func (a answer) rcode(code byte) answer { a[3] |= code; return a }
func (a answer) truncated() answer      { a[2] |= 2; return a }

// recased inverts the case of the name's letters.
func (a answer) recased() answer {
	for i := answerOffset; i < questionEnd(a)-5; i++ {
		if c := a[i] | 0x20; c >= 'a' && c <= 'z' {
			a[i] ^= 0x20
		}
	}
	return a
}

func hasEDNS(query []byte) bool { return binary.BigEndian.Uint16(query[10:]) == 1 }

// A testServer is a DNS server for tests. Its functions run on one goroutine each, and may be nil.
type testServer struct {
	t    *testing.T
	addr netip.AddrPort
	host *looptest.Host
	conn *looptest.PacketConn
	// udp returns the datagrams that answer a query.
	udp     func(query []byte) []answer
	tcp     func(c net.Conn, query []byte)
	queries [2]int // received over UDP and TCP
	ports   map[uint16]bool
}

func (s *testServer) start(h *looptest.Host) {
	s.host, s.ports = h, map[uint16]bool{}
	s.addr = netip.AddrPortFrom(h.Addr(), 53)
	if s.udp != nil {
		s.conn = must(h.ListenPacket("udp", ":53"))
		s.t.Cleanup(func() { s.conn.Close() })
		go s.serveUDP()
	}
	if s.tcp != nil {
		ln := must(h.Listen("tcp", ":53"))
		s.t.Cleanup(func() { ln.Close() })
		go s.serveTCP(ln)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (s *testServer) serveUDP() {
	b := make([]byte, 4096)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		s.queries[0]++
		s.ports[from.Port()] = true
		for _, a := range s.udp(slices.Clone(b[:n])) {
			s.conn.WriteToUDPAddrPort(a, from)
		}
	}
}

func (s *testServer) serveTCP(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		s.t.Cleanup(func() { c.Close() })
		go func() {
			for {
				query, err := readFrame(c)
				if err != nil {
					c.Close()
					return
				}
				s.queries[1]++
				s.tcp(c, query)
			}
		}()
	}
}

func readFrame(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func frame(a answer) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)
}

// A testNet has a client's loop, and servers.
type testNet struct {
	t       *testing.T
	net     *looptest.Network
	client  *looptest.Host
	loop    *loop.Loop
	x       *exchanger
	policy  policy
	servers []*testServer
}

// onTestNet runs f in a bubble, with the servers on hosts of their own.
func onTestNet(t *testing.T, f func(n *testNet), servers ...*testServer) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := looptest.New(t, looptest.Config{})
		n := &testNet{t: t, net: network, client: network.Host(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")), servers: servers}
		n.policy = policy{timeout: 5 * time.Second, attempts: 2}
		for i, s := range servers {
			s.t = t
			s.start(network.Host(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})))
			n.policy.servers = append(n.policy.servers, s.addr)
		}
		n.loop = n.client.NewGroup(loop.Config{}).Loops()[0]
		n.x = newExchanger(n.loop, n.client)
		f(n)
		n.run(func() { n.x.close() })
		time.Sleep(time.Second)
		n.run(func() {
			if len(n.x.queries) != 0 || len(n.x.servers) != 0 {
				t.Errorf("a closed exchanger has %d queries and %d servers", len(n.x.queries), len(n.x.servers))
			}
		})
		for _, s := range servers {
			s.conn.Close()
		}
		if open := n.client.Descriptors(); open != 0 {
			t.Errorf("%d descriptors are open after close", open)
		}
	})
}

// run runs f on the loop, and waits for it.
func (n *testNet) run(f func()) {
	done := make(chan struct{})
	if err := n.loop.Run(func() { defer close(done); f() }); err != nil {
		n.t.Fatal(err)
	}
	<-done
}

// ask asks for the A records of name.
func (n *testNet) ask(name string) reply {
	n.t.Helper()
	replies := make(chan reply, 2)
	n.run(func() { n.start(name, replies) })
	r := <-replies
	time.Sleep(time.Nanosecond) // lets the loop run
	if len(replies) > 0 {
		n.t.Error("done was called twice")
	}
	return r
}

func (n *testNet) start(name string, replies chan<- reply) *query {
	question := dnswire.Question{Name: must(dnswire.ParseName(name)), Type: dnswire.TypeA}
	return n.x.ask(question, &n.policy, func(r reply) { replies <- r })
}

// wantAddr checks that r is a positive answer with one address.
func (n *testNet) wantAddr(r reply, want string) {
	n.t.Helper()
	if r.err != nil {
		n.t.Fatalf("error %v, want the address %s; steps %v", r.err, want, r.steps)
	}
	if as := r.response.Answers(); len(as) != 1 || as[0].Addr.String() != want {
		n.t.Fatalf("records %v, want the address %s", r.response.Records, want)
	}
}

const (
	trueAddr   = "192.0.2.1"
	forgedAddr = "203.0.113.66"
)

func honest(q []byte) []answer { return []answer{answerTo(q, trueAddr)} }

func honestTCP(c net.Conn, q []byte) { c.Write(frame(answerTo(q, trueAddr))) }

// What does not match the query must not end it, whatever else is right about it.
func TestForgedResponses(t *testing.T) {
	for name, forge := range map[string]func(q []byte) answer{
		"ID":    func(q []byte) answer { a := answerTo(q, forgedAddr); a[1]++; return a },
		"name":  func(q []byte) answer { a := answerTo(q, forgedAddr); a[answerOffset+1] = '-'; return a },
		"class": func(q []byte) answer { a := answerTo(q, forgedAddr); a[questionEnd(a)-1] = 3; return a },
		"type":  func(q []byte) answer { a := answerTo(q, forgedAddr); a[questionEnd(a)-3] = 28; return a },
		"query": func(q []byte) answer { return q },
		"opcode": func(q []byte) answer {
			a := answerTo(q, forgedAddr)
			a[2] |= 0x28
			return a
		},
		"one byte": func([]byte) answer { return answer{0} },
		"empty":    func([]byte) answer { return answer{} },
		"no question": func(q []byte) answer {
			a := answerTo(q, forgedAddr)
			a[5] = 0
			return a
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &testServer{udp: func(q []byte) []answer {
				return []answer{forge(q), forge(q), answerTo(q, trueAddr), answerTo(q, forgedAddr)}
			}}
			onTestNet(t, func(n *testNet) {
				r := n.ask("www.example.com")
				n.wantAddr(r, trueAddr)
				time.Sleep(time.Second)
				if dropped := n.x.dropped.Load(); len(r.steps) > 0 || s.queries[0] != 1 || dropped != 3 {
					t.Errorf("steps %v, %d queries, %d messages dropped; want none, 1, 3", r.steps, s.queries[0], dropped)
				}
			}, s)
		})
	}
}

// The answer of another port, or host, does not reach the query.
func TestForgedSender(t *testing.T) {
	var other, otherHost *looptest.PacketConn
	s := &testServer{}
	s.udp = func(q []byte) []answer {
		for port := range s.ports {
			to := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port)
			other.WriteToUDPAddrPort(answerTo(q, forgedAddr), to)
			otherHost.WriteToUDPAddrPort(answerTo(q, forgedAddr), to)
		}
		time.Sleep(time.Second)
		return honest(q)
	}
	onTestNet(t, func(n *testNet) {
		other = must(n.net.Host(netip.MustParseAddr("10.0.2.1")).ListenPacket("udp", ":53"))
		otherHost = must(n.net.Host(netip.MustParseAddr("10.0.2.2")).ListenPacket("udp", ":5353"))
		defer other.Close()
		defer otherHost.Close()
		n.wantAddr(n.ask("www.example.com"), trueAddr)
	}, s)
}

// A datagram that arrived before the socket was connected may have any sender.
func TestMatchSender(t *testing.T) {
	u := &udpSocket{server: &server{addr: netip.MustParseAddrPort("192.0.2.53:53")}, inFlight: map[uint16]*query{0x0102: {}}}
	for from, want := range map[string]bool{
		"192.0.2.53:53": true, "[::ffff:192.0.2.53]:53": true, "192.0.2.54:53": false, "192.0.2.53:54": false, "[2001:db8::1]:53": false,
	} {
		if got := u.match(&sock.Message{Addr: netip.MustParseAddrPort(from)}, []byte{1, 2}) != nil; got != want {
			t.Errorf("from %s: matched %v, want %v", from, got, want)
		}
	}
}

// A server that loses the case of names is asked over TCP; a forger who does not know it wins nothing.
func TestCaseLost(t *testing.T) {
	s := &testServer{
		udp: func(q []byte) []answer { return []answer{answerTo(q, forgedAddr).recased(), answerTo(q, forgedAddr)} },
		tcp: func(c net.Conn, q []byte) { c.Write(frame(answerTo(q, trueAddr).recased())) },
	}
	onTestNet(t, func(n *testNet) {
		r := n.ask("www.example.com")
		n.wantAddr(r, trueAddr)
		if !r.tcp || len(r.steps) != 0 {
			t.Errorf("tcp %v, steps %v", r.tcp, r.steps)
		}
	}, s)
}

// Names are asked for in a random case, with random IDs, from several ports.
func TestUnpredictable(t *testing.T) {
	names, ids := map[string]bool{}, map[uint16]bool{}
	s := &testServer{udp: func(q []byte) []answer {
		names[string(q[answerOffset:questionEnd(q)])] = true
		ids[binary.BigEndian.Uint16(q)] = true
		return honest(q)
	}}
	onTestNet(t, func(n *testNet) {
		const queries, long = 60, "a-name-with-so-many-letters-that-no-case-occurs-twice.example.com"
		for range queries {
			n.ask(long)
		}
		if len(names) < queries-1 || len(ids) < queries-1 || len(s.ports) != socketsPerServer {
			t.Errorf("%d spellings, %d IDs, %d ports of %d queries", len(names), len(ids), len(s.ports), queries)
		}
		time.Sleep(2 * socketAge)
		if open := n.client.Descriptors(); open != 0 {
			t.Errorf("%d sockets are open that are older than socketAge", open)
		}
		n.ask(long)
		if len(s.ports) != socketsPerServer+1 {
			t.Errorf("%d ports, want another one", len(s.ports))
		}
	}, s)
}

// A socket is retired after its quota of queries, and closed when the last of them has ended.
func TestSocketQuota(t *testing.T) {
	s := &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		n.x.random = func() func() uint64 { // always the same socket
			var calls uint64
			return func() uint64 { calls += socketsPerServer; return calls }
		}()
		for range socketQueries + 1 {
			n.wantAddr(n.ask("a"), trueAddr)
		}
		if len(s.ports) != 2 {
			t.Errorf("%d ports, want 2", len(s.ports))
		}
	}, s)
}

// A silent server costs an attempt; the next one is asked.
func TestSilence(t *testing.T) {
	silent, s := &testServer{udp: func([]byte) []answer { return nil }}, &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		began := time.Now()
		r := n.ask("www.example.com")
		n.wantAddr(r, trueAddr)
		if took := time.Since(began); took < 5*time.Second || took > 5*time.Second+10*time.Millisecond {
			t.Errorf("took %v, want one timeout", took)
		}
		if len(r.steps) != 1 || r.steps[0].Server != silent.addr || !errors.Is(r.steps[0].Err, os.ErrDeadlineExceeded) || r.server != s.addr {
			t.Errorf("steps %v, server %v", r.steps, r.server)
		}
	}, silent, s)
}

// All servers are asked as often as the policy permits, and then the query ends.
func TestAllSilent(t *testing.T) {
	a, b := &testServer{udp: func([]byte) []answer { return nil }}, &testServer{udp: func([]byte) []answer { return nil }}
	onTestNet(t, func(n *testNet) {
		began := time.Now()
		r := n.ask("www.example.com")
		if !errors.Is(r.err, os.ErrDeadlineExceeded) || len(r.steps) != 4 || a.queries[0] != 2 || b.queries[0] != 2 {
			t.Errorf("%v, steps %v, %d and %d queries", r.err, r.steps, a.queries[0], b.queries[0])
		}
		if took := time.Since(began); took < 20*time.Second {
			t.Errorf("took %v, want 4 attempts of 5 s", took)
		}
	}, a, b)
}

// A lost datagram is sent again; its late and duplicate answers do no harm.
func TestLate(t *testing.T) {
	s := &testServer{}
	s.udp = func(q []byte) []answer {
		if s.queries[0] == 1 {
			time.Sleep(6 * time.Second)
			return []answer{answerTo(q, forgedAddr), answerTo(q, forgedAddr)}
		}
		return []answer{answerTo(q, trueAddr), answerTo(q, trueAddr)}
	}
	onTestNet(t, func(n *testNet) {
		n.wantAddr(n.ask("www.example.com"), trueAddr)
		n.wantAddr(n.ask("www.example.com"), trueAddr)
	}, s)
}

func TestServerFailureOnce(t *testing.T) {
	s := &testServer{}
	s.udp = func(q []byte) []answer {
		if s.queries[0] == 1 {
			return []answer{answerTo(q).rcode(2)}
		}
		return honest(q)
	}
	onTestNet(t, func(n *testNet) {
		r := n.ask("www.example.com")
		n.wantAddr(r, trueAddr)
		if len(r.steps) != 1 || !strings.Contains(r.steps[0].Err.Error(), "SERVFAIL") {
			t.Errorf("steps %v", r.steps)
		}
	}, s)
}

// The timer of an attempt ends with it.
func TestAttemptTimer(t *testing.T) {
	s := &testServer{}
	s.udp = func(q []byte) []answer {
		if s.queries[0] == 1 {
			time.Sleep(3 * time.Second)
			return []answer{answerTo(q).rcode(2)}
		}
		time.Sleep(4 * time.Second)
		return honest(q)
	}
	onTestNet(t, func(n *testNet) {
		if r := n.ask("www.example.com"); len(r.steps) != 1 {
			t.Errorf("steps %v", r.steps)
		}
	}, s)
}

// An ID that is in flight is not used for another query.
func TestUniqueID(t *testing.T) {
	next := uint64(5)
	s := &server{x: &exchanger{random: func() uint64 { next++; return next / 2 }}}
	q := &query{question: dnswire.Question{Name: must(dnswire.ParseName("a")), Type: dnswire.TypeA}, policy: &policy{}}
	if _, err := s.appendQuery(nil, q, map[uint16]*query{3: {}, 4: {}}); err != nil || q.sent.ID != 5 {
		t.Errorf("ID %d, %v, want 5", q.sent.ID, err)
	}
}

// A server that does not run refuses at once (ICMP): no timeout passes.
func TestRefused(t *testing.T) {
	s := &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		n.policy.servers = []netip.AddrPort{netip.AddrPortFrom(s.addr.Addr(), 54), s.addr}
		began := time.Now()
		r := n.ask("www.example.com")
		n.wantAddr(r, trueAddr)
		if took := time.Since(began); took > time.Second || len(r.steps) != 1 || !errors.Is(r.steps[0].Err, syscall.ECONNREFUSED) {
			t.Errorf("took %v, steps %v", took, r.steps)
		}
	}, s)
}

// A server that does not understand EDNS gets the question without, and the next ones as well.
func TestWithoutEDNS(t *testing.T) {
	for name, reject := range map[string]func(q []byte) answer{
		"FORMERR": func(q []byte) answer { return answerTo(q).rcode(1) },
		"NOTIMP":  func(q []byte) answer { return answerTo(q).rcode(4) },
		"FORMERR without question": func(q []byte) answer {
			a := answerTo(q).rcode(1)
			a[5] = 0
			return a[:answerOffset]
		},
	} {
		t.Run(name, func(t *testing.T) {
			with, without := 0, 0
			s := &testServer{udp: func(q []byte) []answer {
				if hasEDNS(q) {
					with++
					return []answer{reject(q)}
				}
				without++
				return honest(q)
			}}
			onTestNet(t, func(n *testNet) {
				r := n.ask("www.example.com")
				n.wantAddr(r, trueAddr)
				n.wantAddr(n.ask("www.example.com"), trueAddr)
				wantWith := 1
				if strings.Contains(name, "without") {
					wantWith = 2 // it proves nothing
				}
				if len(r.steps) != 0 || with != wantWith || without != 2 {
					t.Errorf("steps %v, %d queries with EDNS, %d without", r.steps, with, without)
				}
			}, s)
		})
	}
}

// A truncated answer is asked for again over TCP, however its bytes arrive there.
func TestTruncated(t *testing.T) {
	truncated := func(q []byte) []answer { return []answer{answerTo(q, forgedAddr).truncated()} }
	for name, c := range map[string]struct {
		tcp     func(c net.Conn, q []byte)
		ok      bool
		timeout bool
	}{
		"whole": {tcp: honestTCP, ok: true},
		"single bytes": {tcp: func(c net.Conn, q []byte) {
			for _, b := range frame(answerTo(q, trueAddr)) {
				c.Write([]byte{b})
				time.Sleep(10 * time.Millisecond)
			}
		}, ok: true},
		"strays first": {tcp: func(c net.Conn, q []byte) {
			wrong := answerTo(q, forgedAddr)
			wrong[0]++
			c.Write(slices.Concat(frame(wrong), frame(nil), frame(answer{0}), frame(answerTo(q, trueAddr))))
		}, ok: true},
		"stalled":        {tcp: func(c net.Conn, q []byte) { c.Write(frame(answerTo(q, trueAddr))[:20]) }, timeout: true},
		"silent":         {tcp: func(net.Conn, []byte) {}, timeout: true},
		"cut":            {tcp: func(c net.Conn, q []byte) { c.Write(frame(answerTo(q, trueAddr))[:20]); c.Close() }},
		"closed":         {tcp: func(c net.Conn, _ []byte) { c.Close() }},
		"truncated too":  {tcp: func(c net.Conn, q []byte) { c.Write(frame(answerTo(q, trueAddr).truncated())) }},
		"strays forever": {tcp: func(c net.Conn, _ []byte) { c.Write(make([]byte, 10000)) }},
		"refused":        {},
	} {
		t.Run(name, func(t *testing.T) {
			s := &testServer{udp: truncated, tcp: c.tcp}
			onTestNet(t, func(n *testNet) {
				r := n.ask("www.example.com")
				if !c.ok {
					if len(r.steps) != 2 || !r.steps[0].TCP || r.err == nil || c.timeout != errors.Is(r.err, os.ErrDeadlineExceeded) {
						t.Errorf("%v, steps %v", r.err, r.steps)
					}
					return
				}
				n.wantAddr(r, trueAddr)
				if !r.tcp || len(r.steps) > 0 {
					t.Errorf("over TCP %v, steps %v", r.tcp, r.steps)
				}
			}, s)
		})
	}
}

// A datagram that is longer than the buffer counts as truncated.
func TestTooLong(t *testing.T) {
	s := &testServer{udp: func(q []byte) []answer { return []answer{append(answerTo(q, trueAddr), make([]byte, 3000)...)} }, tcp: honestTCP}
	onTestNet(t, func(n *testNet) {
		if r := n.ask("www.example.com"); r.err != nil || !r.tcp {
			t.Errorf("%v, over TCP %v", r.err, r.tcp)
		}
	}, s)
}

// Queries over TCP use one connection, whose responses may come in any order.
func TestPipelined(t *testing.T) {
	const queries = 50
	var waiting [][]byte
	s := &testServer{udp: honest, tcp: func(c net.Conn, q []byte) {
		if waiting = append(waiting, q); len(waiting) == queries {
			for _, q := range slices.Backward(waiting) {
				honestTCP(c, q)
			}
			waiting = nil
		}
	}}
	onTestNet(t, func(n *testNet) {
		n.policy.tcp = true
		replies := make(chan reply, queries)
		n.run(func() {
			for range queries {
				n.start("www.example.com", replies)
			}
		})
		for range queries {
			n.wantAddr(<-replies, trueAddr)
		}
		if open := n.client.Descriptors(); open != 1 || s.queries != [2]int{0, queries} {
			t.Errorf("%d connections, %v queries", open, s.queries)
		}
		time.Sleep(streamIdle + time.Second)
		if open := n.client.Descriptors(); open != 0 {
			t.Errorf("%d connections are open after streamIdle", open)
		}
	}, s)
}

// A server may close a connection that has been used while a query is on its way: it is asked again.
func TestStreamReopened(t *testing.T) {
	s := &testServer{udp: honest}
	s.tcp = func(c net.Conn, q []byte) {
		if s.queries[1] == 2 {
			c.Close()
			return
		}
		honestTCP(c, q)
	}
	onTestNet(t, func(n *testNet) {
		n.policy.tcp = true
		n.wantAddr(n.ask("www.example.com"), trueAddr)
		r := n.ask("www.example.com")
		n.wantAddr(r, trueAddr)
		if len(r.steps) > 0 || s.queries[1] != 3 {
			t.Errorf("steps %v, %d queries", r.steps, s.queries[1])
		}
	}, s)
}

// A connection on which a query has timed out is not used again, if nothing else has arrived on it.
func TestSilentStream(t *testing.T) {
	var silent net.Conn
	s := &testServer{udp: honest, tcp: func(c net.Conn, q []byte) {
		if silent == nil {
			silent = c
		}
		if c != silent {
			honestTCP(c, q)
		}
	}}
	onTestNet(t, func(n *testNet) {
		n.policy.tcp = true
		if r := n.ask("www.example.com"); len(r.steps) != 1 {
			t.Errorf("steps %v", r.steps)
		} else {
			n.wantAddr(r, trueAddr)
		}
	}, s)
}

// With rotate, lookups begin at different servers.
func TestRotate(t *testing.T) {
	a, b := &testServer{udp: honest}, &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		n.policy.rotate = true
		for range 4 {
			n.ask("www.example.com")
		}
		if a.queries[0] != 2 || b.queries[0] != 2 {
			t.Errorf("%d and %d queries, want 2 and 2", a.queries[0], b.queries[0])
		}
	}, a, b)
}

// A canceled query has no reply, and leaves nothing behind: wherever it is.
func TestCancel(t *testing.T) {
	for _, after := range []time.Duration{0, time.Millisecond, 150 * time.Millisecond, 6 * time.Second} {
		for _, tcp := range []bool{false, true} {
			silent := &testServer{udp: func([]byte) []answer { return nil }, tcp: func(net.Conn, []byte) {}}
			onTestNet(t, func(n *testNet) {
				n.net.SetLink(n.client, silent.host, looptest.Link{Latency: 100 * time.Millisecond})
				n.policy.tcp = tcp
				replies := make(chan reply, 1)
				var q *query
				n.run(func() { q = n.start("www.example.com", replies) })
				time.Sleep(after)
				n.run(func() { q.cancel(); q.cancel() })
				time.Sleep(time.Minute)
				if len(replies) > 0 || n.client.Descriptors() > 0 {
					t.Errorf("canceled after %v (TCP %v): %d replies, %d descriptors", after, tcp, len(replies), n.client.Descriptors())
				}
			}, silent)
		}
	}
}

// Connecting ends with the last query that waits for it.
func TestCancelConnecting(t *testing.T) {
	s := &testServer{udp: honest, tcp: honestTCP}
	onTestNet(t, func(n *testNet) {
		s.host.SetConnectPolicy(looptest.DropConnects)
		n.policy.tcp = true
		n.run(func() {
			a, b := n.start("a", nil), n.start("b", nil)
			a.cancel()
			if len(n.x.servers) != 1 {
				t.Error("the connection was given up while a query waits for it")
			}
			b.cancel()
			if len(n.x.servers) != 0 {
				t.Error("a connection is being opened that no query waits for")
			}
		})
		time.Sleep(time.Second)
		if open := n.client.Descriptors(); open != 0 {
			t.Errorf("%d descriptors are open", open)
		}
	}, s)
}

// A done function may start and cancel queries, close the exchanger, and panic.
func TestReentrant(t *testing.T) {
	s := &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		question := dnswire.Question{Name: must(dnswire.ParseName("a")), Type: dnswire.TypeA}
		replies := make(chan reply, 10)
		var other *query
		n.run(func() {
			n.x.ask(question, &n.policy, func(r reply) {
				replies <- r
				other.cancel()
				n.start("b", replies)
				panic("a mistake of the caller")
			})
			n.start("c", replies)
			n.net.Partition(n.client, n.net.Host(netip.MustParseAddr("10.0.9.9")))
			other = n.x.ask(question, &policy{servers: []netip.AddrPort{netip.MustParseAddrPort("10.0.9.9:53")}, timeout: time.Second, attempts: 1},
				func(reply) { t.Error("a canceled query has a reply") })
		})
		for range 3 {
			n.wantAddr(<-replies, trueAddr)
		}
		n.run(func() {
			for range 5 {
				n.x.ask(question, &n.policy, func(reply) { panic("another mistake") })
			}
			n.start("d", replies)
			n.x.close()
			n.start("e", replies)
		})
		for range 2 {
			if r := <-replies; !errors.Is(r.err, ErrClosed) {
				t.Errorf("%v, want ErrClosed", r.err)
			}
		}
	}, s)
}

// Without descriptors for another socket, queries use those that exist; without any, the attempts fail.
func TestNoDescriptors(t *testing.T) {
	s := &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		n.client.SetMaxDescriptors(1)
		for range 20 {
			n.wantAddr(n.ask("www.example.com"), trueAddr)
		}
		time.Sleep(2 * socketAge)
		n.client.SetMaxDescriptors(0)
		if r := n.ask("www.example.com"); !errors.Is(r.err, syscall.EMFILE) {
			t.Errorf("%v, want EMFILE", r.err)
		}
		n.client.SetMaxDescriptors(100)
	}, s)
}

// A query that goes on over TCP, after the last socket of its server was retired, ends with the exchanger.
func TestRetiredMeanwhile(t *testing.T) {
	s := &testServer{
		udp: func(q []byte) []answer { time.Sleep(time.Second); return []answer{answerTo(q).truncated()} },
		tcp: func(net.Conn, []byte) {},
	}
	onTestNet(t, func(n *testNet) {
		replies := make(chan reply, 1)
		n.run(func() {
			u := n.start("a", replies).socket
			u.retire()
		})
		time.Sleep(2 * time.Second)
		n.run(func() {
			if len(n.x.servers) != 1 {
				t.Error("the server with an open stream was forgotten")
			}
			n.x.close()
		})
		<-replies
	}, s)
}
