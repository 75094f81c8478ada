package dns

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/sock"
)

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
	u := &udpSocket{server: &server{addr: netip.MustParseAddrPort("192.0.2.53:53")}, inFlight: tableOf(0x0102)}
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
