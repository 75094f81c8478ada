package loop_test

import (
	"context"
	"net"
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
	c, err := net.Dial("tcp", ln.Addr().String())
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
	c, err := net.Dial("udp", pl.Addr().String())
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
	if s.Backend != g.Backend() || l.Conns != 1 || l.Accepts != 1 || l.BytesIn != 40 || l.BytesOut != 40 || l.Messages != 10 || l.Turns == 0 {
		t.Errorf("Stats() = %+v", s)
	}
}
