package dns

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

func (a answer) truncated() answer { a[2] |= 2; return a }

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
	udp func(query []byte) []answer
	// delay is after what time the answers to the nth query, from 1, are sent. Nil: at once.
	delay   func(n int) time.Duration
	tcp     func(c net.Conn, query []byte)
	queries [2]int      // received over UDP and TCP
	times   []time.Time // of the queries over UDP
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
		s.times = append(s.times, time.Now())
		answers, delay := s.udp(slices.Clone(b[:n])), time.Duration(0)
		if s.delay != nil {
			delay = s.delay(s.queries[0])
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

const (
	trueAddr   = "192.0.2.1"
	forgedAddr = "203.0.113.66"
)

func silent([]byte) []answer { return nil }

func honest(q []byte) []answer { return []answer{answerTo(q, trueAddr)} }

func honestTCP(c net.Conn, q []byte) { c.Write(frame(answerTo(q, trueAddr))) }
