// Package exchangetest has DNS servers on a simulated network, for tests of package exchange and of those above it.
package exchangetest

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop/looptest"
)

// A Message is a DNS message.
type Message []byte

// QuestionOffset is where the question of a message begins.
const QuestionOffset = 12

// QuestionEnd returns the offset after the question of a message.
func QuestionEnd(msg []byte) int {
	at := QuestionOffset
	for msg[at] != 0 {
		at += 1 + int(msg[at])
	}
	return at + 1 + 4
}

// AnswerTo returns a response to a query, with an A or AAAA record for each address.
func AnswerTo(query []byte, addrs ...string) Message {
	b := slices.Clone(query[:QuestionEnd(query)])
	binary.BigEndian.PutUint16(b[2:], 0x8180) // QR RD RA
	binary.BigEndian.PutUint16(b[6:], uint16(len(addrs)))
	clear(b[8:12])
	for _, text := range addrs {
		addr := netip.MustParseAddr(text)
		typ, data := byte(1), addr.AsSlice()
		if addr.Is6() {
			typ = 28
		}
		b = append(b, 0xc0, QuestionOffset, 0, typ, 0, 1, 0, 0, 0, 60, 0, byte(len(data)))
		b = append(b, data...)
	}
	return b
}

// Rcode sets the code of a response.
func (a Message) Rcode(code byte) Message { a[3] |= code; return a }

// Truncated sets the bit TC.
func (a Message) Truncated() Message { a[2] |= 2; return a }

// Recased inverts the case of the name's letters.
func (a Message) Recased() Message {
	for i := QuestionOffset; i < QuestionEnd(a)-5; i++ {
		if c := a[i] | 0x20; c >= 'a' && c <= 'z' {
			a[i] ^= 0x20
		}
	}
	return a
}

// Lowered makes the name of the question lower case, as some servers of home routers do.
func (a Message) Lowered() Message {
	for i := QuestionOffset; i < QuestionEnd(a)-5; i++ {
		if c := a[i]; 'A' <= c && c <= 'Z' {
			a[i] |= 0x20
		}
	}
	return a
}

// HasEDNS reports whether a query has an OPT record.
func HasEDNS(query []byte) bool { return binary.BigEndian.Uint16(query[10:]) == 1 }

// A Server is a DNS server for tests. Its functions run on one goroutine each, and may be nil.
type Server struct {
	t    *testing.T
	Addr netip.AddrPort
	Host *looptest.Host
	conn *looptest.PacketConn
	// UDP returns the datagrams that answer a query.
	UDP func(query []byte) []Message
	// Delay is after what time the answers to the nth query, from 1, are sent. Nil: at once.
	Delay func(n int) time.Duration
	// TCP is called for each query on a connection.
	TCP     func(c net.Conn, query []byte)
	Queries [2]int      // received over UDP and TCP
	Times   []time.Time // of the queries over UDP
	Ports   map[uint16]bool
}

func (s *Server) start(h *looptest.Host) {
	s.Host, s.Ports = h, map[uint16]bool{}
	s.Addr = netip.AddrPortFrom(h.Addr(), 53)
	if s.UDP != nil {
		s.conn = must(h.ListenPacket("udp", ":53"))
		s.t.Cleanup(func() { s.conn.Close() })
		go s.serveUDP()
	}
	if s.TCP != nil {
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

func (s *Server) serveUDP() {
	b := make([]byte, 4096)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		s.Queries[0]++
		s.Ports[from.Port()] = true
		s.Times = append(s.Times, time.Now())
		answers, delay := s.UDP(slices.Clone(b[:n])), time.Duration(0)
		if s.Delay != nil {
			delay = s.Delay(s.Queries[0])
		}
		send := func() {
			for _, a := range answers {
				s.conn.WriteToUDPAddrPort(a, from)
			}
		}
		if delay == 0 {
			send()
			continue
		}
		time.AfterFunc(delay, send)
	}
}

func (s *Server) serveTCP(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		s.t.Cleanup(func() { c.Close() })
		go func() {
			for {
				query, err := ReadFrame(c)
				if err != nil {
					c.Close()
					return
				}
				s.Queries[1]++
				s.TCP(c, query)
			}
		}()
	}
}

// ReadFrame reads a message over TCP, after its length.
func ReadFrame(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// Frame returns a message with its length before it.
func Frame(a Message) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)
}

// What honest servers answer, and what others do.
const (
	TrueAddr   = "192.0.2.1"
	ForgedAddr = "203.0.113.66"
)

// Silent does not answer. It is a Server.UDP, as Honest.
func Silent([]byte) []Message { return nil }

// Honest answers with TrueAddr.
func Honest(q []byte) []Message { return []Message{AnswerTo(q, TrueAddr)} }

// HonestTCP is Honest as Server.TCP.
func HonestTCP(c net.Conn, q []byte) { c.Write(Frame(AnswerTo(q, TrueAddr))) }
