package loop_test

import (
	"context"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Stats returns the totals even after the loops have ended.
func TestStatsAfterShutdown(t *testing.T) {
	g := group(t, loop.Config{Loops: 2})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialNet(t, "tcp", ln.Addr().String())
	checkEchoAndClose(t, c, err)
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	s := g.Stats()
	if in, out := s.Loops[0].BytesIn+s.Loops[1].BytesIn, s.Loops[0].BytesOut+s.Loops[1].BytesOut; in != 5 || out != 5 {
		t.Errorf("Stats counts %d bytes in, %d out, want 5 and 5", in, out)
	}
}

// Datagrams are counted, too, with each method to send them.
func TestStatsPackets(t *testing.T) {
	testkit.SkipOnWine(t, "package net, which the client uses, cannot use UDP there (SIO_UDP_NETRESET)")
	g := group(t, loop.Config{Loops: 1})
	pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return echoThreeWays{} })
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialNet(t, "udp", pl.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(testTimeout))
	for _, sent := range []string{"hi", "hello"} { // the second in the buffer of the first
		c.Write([]byte(sent))
		for range 3 {
			b := make([]byte, 16)
			if n, err := c.Read(b); err != nil || string(b[:n]) != sent {
				t.Fatalf("echo = %q, %v, want %q", b[:n], err, sent)
			}
		}
	}
	if s := g.Stats().Loops[0]; s.BytesIn != 7 || s.BytesOut != 21 || s.Messages != 2 {
		t.Errorf("Stats counts %d bytes in, %d out, %d messages, want 7, 21, 2", s.BytesIn, s.BytesOut, s.Messages)
	}
}

// echoThreeWays answers each datagram with WriteTo, WriteBatch and Write.
type echoThreeWays struct{}

func (echoThreeWays) Packets(p *loop.PacketConn, ms []sock.Message) {
	b, to := ms[0].Data[:ms[0].N], ms[0].Addr
	p.WriteTo(b, to)
	ms[0].Data = b
	p.WriteBatch(ms[:1])
	if p.Connect(to) == nil {
		p.Write(b)
	}
}

func TestStats(t *testing.T) {
	g, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler { return echo{} })
	for range 10 {
		ping(t, c)
	}
	s := g.Stats()
	l := s.Loops[0]
	if s.Backend != g.Backend() || l.Conns != 1 || l.Accepts != 1 || l.BytesIn != 40 || l.BytesOut != 40 || l.Messages < 10 || l.Turns == 0 {
		t.Errorf("Stats() = %+v", s)
	}
}

// Stats does not wait in a callback, even while another loop is blocked: it has all figures of its
// own loop, and those of the other that are known without an answer.
func TestStatsInCallback(t *testing.T) {
	g := group(t, loop.Config{Loops: 2, SlowCallback: -1})
	g.SetStatsTimeout(time.Hour) // a Stats that waits hangs
	own, other := g.Loops()[0], g.Loops()[1]
	for _, l := range g.Loops() {
		l.AfterFunc(time.Hour, func() {})
	}
	g.Stats() // both loops have the timer now
	blocked, release := make(chan bool), make(chan bool)
	other.Run(func() { blocked <- true; <-release })
	receive(t, blocked, "the callback that blocks")
	defer close(release)
	other.Run(func() {}) // queued behind it
	got := make(chan loop.Stats, 1)
	own.Run(func() { got <- g.Stats() })
	s := receive(t, got, "Stats in a callback")
	if l := s.Loops[0]; l.Partial || l.Timers != 1 {
		t.Errorf("the figures of the own loop: Partial is %v and Timers %d, want false and 1", l.Partial, l.Timers)
	}
	if l := s.Loops[1]; !l.Partial || l.Queued != 1 || l.Turns == 0 || l.MaxIdleBytes != g.Config().IdleBufferBytes {
		t.Errorf("the figures of the blocked loop: %+v, want Partial, and 1 function queued", l)
	}
}

// Two loops that call Stats in callbacks at the same time do not wait for each other.
func TestStatsInTwoCallbacks(t *testing.T) {
	g := group(t, loop.Config{Loops: 2, SlowCallback: -1})
	g.SetStatsTimeout(time.Hour)
	inside, got := make(chan bool, 2), make(chan loop.Stats, 2)
	both := make(chan bool)
	for _, l := range g.Loops() {
		l.Run(func() {
			inside <- true
			<-both
			got <- g.Stats()
		})
	}
	for range 2 {
		receive(t, inside, "both callbacks")
	}
	close(both)
	for range 2 {
		s := receive(t, got, "Stats in both callbacks")
		if s.Loops[0].Partial == s.Loops[1].Partial {
			t.Errorf("Partial is %v for both loops, want it for the other loop only", s.Loops[0].Partial)
		}
	}
}

// Outside of the loops, a loop that does not answer in time has partial figures.
func TestStatsOfBlockedLoop(t *testing.T) {
	g := group(t, loop.Config{Loops: 2, SlowCallback: -1})
	blocked, release := make(chan bool), make(chan bool)
	g.Loops()[1].Run(func() { blocked <- true; <-release })
	receive(t, blocked, "the callback that blocks")
	g.SetStatsTimeout(time.Nanosecond)
	if s := g.Stats().Loops[1]; !s.Partial {
		t.Errorf("the figures of a blocked loop: %+v, want Partial", s)
	}
	close(release)
	g.SetStatsTimeout(time.Hour)
	for i, l := range g.Stats().Loops {
		if l.Partial {
			t.Errorf("loop %d has Partial set, although it has answered", i)
		}
	}
}
