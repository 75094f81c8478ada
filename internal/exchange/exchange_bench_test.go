package exchange

import (
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// responder answers every query with one address.
type responder struct{ out []sock.Message }

func (r *responder) Packets(p *loop.PacketConn, in []sock.Message) {
	r.out = r.out[:0]
	for i := range in {
		q := in[i].Data[:in[i].N]
		end := exchangetest.QuestionEnd(q)
		b := append(q[:end:cap(q)], 0xc0, exchangetest.QuestionOffset, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1)
		b[2], b[3], b[7], b[11] = 0x81, 0x80, 1, 0
		r.out = append(r.out, sock.Message{Data: b, Addr: in[i].Addr})
	}
	p.WriteBatch(r.out) // a query that is lost is asked again
}

// BenchmarkExchange asks a server on loopback, with so many queries in flight. CPU is that of both ends.
func BenchmarkExchange(b *testing.B) {
	for _, inFlight := range []int{1, 16, 128} {
		b.Run(strconv.Itoa(inFlight), func(b *testing.B) {
			far := must(loop.NewGroup(loop.Config{Loops: 1}))
			defer far.Shutdown(b.Context())
			ln := must(far.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return &responder{} }))
			near := must(loop.NewGroup(loop.Config{Loops: 1}))
			defer near.Shutdown(b.Context())
			p := &Policy{Servers: []netip.AddrPort{netip.MustParseAddrPort(ln.Addr().String())}, Timeout: 5 * time.Second, Attempts: 2}
			benchmarkExchange(b, near.Loops()[0], p, inFlight)
		})
	}
}

func benchmarkExchange(b *testing.B, l *loop.Loop, p *Policy, inFlight int) {
	question := dnswire.Question{Name: must(dnswire.ParseName("www.example.com")), Type: dnswire.TypeA}
	done := make(chan struct{})
	x := New(l, nil, Limits{Queries: DefaultQueries, Sockets: DefaultSockets})
	started, ended := 0, 0
	var next func(r Reply)
	start := func() { started++; x.Ask(question, p, next) }
	next = func(r Reply) {
		if r.Err != nil || len(r.Response.Records) != 1 {
			b.Errorf("%v, %v", r.Response.Records, r.Err)
		}
		if ended++; ended == b.N {
			x.Close()
			close(done)
		} else if started < b.N {
			start()
		}
	}
	cpu, _ := testkit.CPUTime()
	b.ReportAllocs()
	b.ResetTimer()
	l.Run(func() {
		for range min(inFlight, b.N) {
			start()
		}
	})
	<-done
	b.StopTimer()
	used, _ := testkit.CPUTime()
	b.ReportMetric(float64((used-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
}
