package exchange

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/sock"
)

// What does not match the query must not end it, whatever else is right about it.
func TestForgedResponses(t *testing.T) {
	for name, forge := range map[string]func(q []byte) exchangetest.Message{
		"ID": func(q []byte) exchangetest.Message {
			a := exchangetest.AnswerTo(q, exchangetest.ForgedAddr)
			a[1]++
			return a
		},
		"name": func(q []byte) exchangetest.Message {
			a := exchangetest.AnswerTo(q, exchangetest.ForgedAddr)
			a[exchangetest.QuestionOffset+1] = '-'
			return a
		},
		"class": func(q []byte) exchangetest.Message {
			a := exchangetest.AnswerTo(q, exchangetest.ForgedAddr)
			a[exchangetest.QuestionEnd(a)-1] = 3
			return a
		},
		"type": func(q []byte) exchangetest.Message {
			a := exchangetest.AnswerTo(q, exchangetest.ForgedAddr)
			a[exchangetest.QuestionEnd(a)-3] = 28
			return a
		},
		"query": func(q []byte) exchangetest.Message { return q },
		"opcode": func(q []byte) exchangetest.Message {
			a := exchangetest.AnswerTo(q, exchangetest.ForgedAddr)
			a[2] |= 0x28
			return a
		},
		"one byte": func([]byte) exchangetest.Message { return exchangetest.Message{0} },
		"empty":    func([]byte) exchangetest.Message { return exchangetest.Message{} },
		"no question": func(q []byte) exchangetest.Message {
			a := exchangetest.AnswerTo(q, exchangetest.ForgedAddr)
			a[5] = 0
			return a
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
				return []exchangetest.Message{forge(q), forge(q), exchangetest.AnswerTo(q, exchangetest.TrueAddr), exchangetest.AnswerTo(q, exchangetest.ForgedAddr)}
			}}
			onTestNet(t, func(n *testNet) {
				r := n.ask("www.example.com")
				n.wantAddr(r, exchangetest.TrueAddr)
				time.Sleep(time.Second)
				if dropped := n.x.dropped.Load(); len(r.Steps) > 0 || s.Queries[0] != 1 || dropped != 3 {
					t.Errorf("steps %v, %d queries, %d messages dropped; want none, 1, 3", r.Steps, s.Queries[0], dropped)
				}
			}, s)
		})
	}
}

// The answer of another port, or host, does not reach the query.
func TestForgedSender(t *testing.T) {
	var other, otherHost *looptest.PacketConn
	s := &exchangetest.Server{}
	s.UDP = func(q []byte) []exchangetest.Message {
		for port := range s.Ports {
			to := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port)
			other.WriteToUDPAddrPort(exchangetest.AnswerTo(q, exchangetest.ForgedAddr), to)
			otherHost.WriteToUDPAddrPort(exchangetest.AnswerTo(q, exchangetest.ForgedAddr), to)
		}
		time.Sleep(time.Second)
		return exchangetest.Honest(q)
	}
	onTestNet(t, func(n *testNet) {
		other = must(n.Network.Host(netip.MustParseAddr("10.0.2.1")).ListenPacket("udp", ":53"))
		otherHost = must(n.Network.Host(netip.MustParseAddr("10.0.2.2")).ListenPacket("udp", ":5353"))
		defer other.Close()
		defer otherHost.Close()
		n.wantAddr(n.ask("www.example.com"), exchangetest.TrueAddr)
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
	s := &exchangetest.Server{
		UDP: func(q []byte) []exchangetest.Message {
			return []exchangetest.Message{exchangetest.AnswerTo(q, exchangetest.ForgedAddr).Recased(), exchangetest.AnswerTo(q, exchangetest.ForgedAddr)}
		},
		TCP: func(c net.Conn, q []byte) {
			c.Write(exchangetest.Frame(exchangetest.AnswerTo(q, exchangetest.TrueAddr).Recased()))
		},
	}
	onTestNet(t, func(n *testNet) {
		r := n.ask("www.example.com")
		n.wantAddr(r, exchangetest.TrueAddr)
		if !r.TCP || len(r.Steps) != 0 {
			t.Errorf("tcp %v, steps %v", r.TCP, r.Steps)
		}
	}, s)
}

// A server that does not understand EDNS gets the question without, and the next ones as well.
func TestWithoutEDNS(t *testing.T) {
	for name, reject := range map[string]func(q []byte) exchangetest.Message{
		"FORMERR": func(q []byte) exchangetest.Message { return exchangetest.AnswerTo(q).Rcode(1) },
		"NOTIMP":  func(q []byte) exchangetest.Message { return exchangetest.AnswerTo(q).Rcode(4) },
		"FORMERR without question": func(q []byte) exchangetest.Message {
			a := exchangetest.AnswerTo(q).Rcode(1)
			a[5] = 0
			return a[:exchangetest.QuestionOffset]
		},
	} {
		t.Run(name, func(t *testing.T) {
			with, without := 0, 0
			s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
				if exchangetest.HasEDNS(q) {
					with++
					return []exchangetest.Message{reject(q)}
				}
				without++
				return exchangetest.Honest(q)
			}}
			onTestNet(t, func(n *testNet) {
				r := n.ask("www.example.com")
				n.wantAddr(r, exchangetest.TrueAddr)
				n.wantAddr(n.ask("www.example.com"), exchangetest.TrueAddr)
				wantWith := 1
				if strings.Contains(name, "without") {
					wantWith = 2 // it proves nothing
				}
				if len(r.Steps) != 0 || with != wantWith || without != 2 {
					t.Errorf("steps %v, %d queries with EDNS, %d without", r.Steps, with, without)
				}
			}, s)
		})
	}
}
