package main

import (
	"net/netip"
	"time"

	"github.com/pollux-io/pollux/sock"
)

// udpLoad keeps a datagram in flight for each socket of the server, from a single socket
// that sends and receives in batches: so the server is the bottleneck.
type udpLoad struct {
	server    *server
	u         *sock.UDPSocket
	in, out   []sock.Message
	buffers   [][]byte
	sent      []time.Time // by the server's socket; zero: none is in flight
	latencies []time.Duration
}

const (
	batch = 64
	// lostAfter is how long to wait for an answer: after that, the datagram was lost.
	lostAfter = 100 * time.Millisecond
)

func newUDPLoad(s *server) *udpLoad {
	u, err := sock.ListenUDP(netip.AddrPortFrom(localhost, 0), sock.ReadBuffer(4<<20))
	check(err)
	l := &udpLoad{server: s, u: u, in: make([]sock.Message, batch), sent: make([]time.Time, *udp)}
	for range batch {
		l.buffers = append(l.buffers, make([]byte, *size))
	}
	return l
}

func (l *udpLoad) run() sample {
	cpu0, began := l.server.cpuNanos(), time.Now()
	end, messages, inFlight := began.Add(*slice), 0, *udp
	l.latencies = l.latencies[:0]
	for i := range l.sent {
		l.send([]sock.Message{{Data: make([]byte, *size), Addr: netip.AddrPortFrom(localhost, uint16(l.server.port+i))}})
		l.sent[i] = time.Now()
	}
	inTime, took := 0, time.Duration(0)
	for inFlight > 0 {
		for i := range l.in {
			l.in[i].Data = l.buffers[i]
		}
		n, err := l.u.ReadBatch(l.in)
		if err != nil && err != sock.ErrWouldBlock {
			check(err)
		}
		now := time.Now()
		if took == 0 && now.After(end) {
			inTime, took = messages, now.Sub(began)
		}
		if now.After(end.Add(lostAfter)) {
			break // the datagrams in flight were lost
		}
		l.out = l.out[:0]
		for i := range n {
			at := int(l.in[i].Addr.Port()) - l.server.port
			if l.sent[at].IsZero() {
				continue // it was counted as lost
			}
			messages++
			l.latencies = append(l.latencies, now.Sub(l.sent[at]))
			if now.Before(end) {
				l.sent[at] = now
				l.out = append(l.out, sock.Message{Data: l.in[i].Data, Addr: l.in[i].Addr})
			} else {
				l.sent[at] = time.Time{}
				inFlight--
			}
		}
		l.send(l.out)
	}
	if messages == 0 {
		fatal("%v does not answer", l.server.cmd)
	}
	clear(l.sent)
	if took == 0 {
		inTime, took = messages, time.Since(began)
	}
	return summary(l.server, inTime, took, cpu0, messages, l.latencies)
}

func (l *udpLoad) send(ms []sock.Message) {
	for len(ms) > 0 {
		n, err := l.u.WriteBatch(ms)
		if ms = ms[n:]; err != nil && err != sock.ErrWouldBlock {
			check(err)
		}
	}
}
