package main

import (
	"errors"
	"net/netip"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

var localhost = netip.MustParseAddr("127.0.0.1")

// tcpLoad keeps -depth messages in flight on each of its connections.
type tcpLoad struct {
	server    *server
	q         *pollux.Poll
	conns     []*conn
	events    []pollux.Event
	in, out   []byte
	latencies []time.Duration
	inFlight  int // messages
	messages  int // answers received
	end       time.Time
	paused    []paused // in the order of time
}

// paused is a connection that waits before it sends its next messages.
type paused struct {
	*conn
	messages int
	due      time.Time
}

type conn struct {
	*sock.TCPStream
	sent     []time.Time // of the messages in flight, in a ring
	first, n int
	partial  int // received bytes of the next answer
	unsent   int // bytes of messages that would have blocked
}

// maxTransfer is the maximum number of bytes of one call.
const maxTransfer = 256 << 10

func newTCPLoad(s *server) *tcpLoad {
	q, err := pollux.New()
	check(err)
	l := &tcpLoad{
		server: s, q: q, events: make([]pollux.Event, 256),
		in: make([]byte, maxTransfer), out: make([]byte, maxTransfer),
	}
	for i := range *conns {
		t, err := sock.ConnectTCP(netip.AddrPortFrom(localhost, uint16(s.port)))
		check(err)
		check(q.Register(t, pollux.Token(i), pollux.Readable|pollux.Writable, pollux.Edge))
		for t.ConnectError() != nil {
			if err := t.ConnectError(); !errors.Is(err, sock.ErrWouldBlock) {
				fatal("%v", err)
			}
			time.Sleep(time.Millisecond)
		}
		l.conns = append(l.conns, &conn{TCPStream: t, sent: make([]time.Time, *depth)})
	}
	return l
}

func (l *tcpLoad) run() sample {
	cpu0, began := l.server.cpuNanos(), time.Now()
	l.end, l.messages, l.latencies = began.Add(*slice), 0, l.latencies[:0]
	for _, c := range l.conns {
		l.send(c, *depth, time.Now())
	}
	inTime, took := 0, time.Duration(0)
	for l.inFlight > 0 || len(l.paused) > 0 {
		l.resume()
		n, err := l.q.Wait(l.events, 0)
		check(err)
		if now := time.Now(); took == 0 && now.After(l.end) {
			inTime, took = l.messages, now.Sub(began)
		} else if now.After(l.end.Add(patient)) {
			fatal("%v does not answer: %d messages are in flight", l.server.cmd, l.inFlight)
		}
		for _, ev := range l.events[:n] {
			c := l.conns[ev.Token()]
			if ev.Readable() {
				l.receive(c)
			}
			if ev.Writable() && c.unsent > 0 {
				l.flush(c)
			}
		}
	}
	if took == 0 {
		inTime, took = l.messages, time.Since(began)
	}
	return summary(l.server, inTime, took, cpu0, l.messages, l.latencies)
}

// send sends k messages.
func (l *tcpLoad) send(c *conn, k int, now time.Time) {
	for range k {
		c.sent[(c.first+c.n)%len(c.sent)] = now
		c.n++
	}
	l.inFlight += k
	c.unsent += k * *size
	l.flush(c)
}

func (l *tcpLoad) flush(c *conn) {
	for c.unsent > 0 {
		n, err := c.Write(l.out[:min(c.unsent, len(l.out))])
		c.unsent -= n
		if err == sock.ErrWouldBlock {
			return
		}
		check(err)
	}
}

// resume sends the messages that are due.
func (l *tcpLoad) resume() {
	for len(l.paused) > 0 {
		now, p := time.Now(), l.paused[0]
		if now.Before(p.due) && now.Before(l.end) {
			return
		}
		l.paused = l.paused[1:]
		if now.Before(l.end) {
			l.send(p.conn, p.messages, now)
		}
	}
}

// receive reads the answers, and sends as many messages until the slice is over.
func (l *tcpLoad) receive(c *conn) {
	for {
		n, err := c.Read(l.in)
		if err == sock.ErrWouldBlock {
			return
		}
		check(err)
		c.partial += n
		whole := c.partial / *size
		c.partial %= *size
		now := time.Now()
		for range whole {
			l.latencies = append(l.latencies, now.Sub(c.sent[c.first]))
			c.first = (c.first + 1) % len(c.sent)
			c.n--
		}
		l.inFlight -= whole
		l.messages += whole
		if whole > 0 && now.Before(l.end) {
			if *pause > 0 {
				l.paused = append(l.paused, paused{c, whole, now.Add(*pause)})
			} else {
				l.send(c, whole, now)
			}
		}
		if n < len(l.in) {
			return
		}
	}
}
