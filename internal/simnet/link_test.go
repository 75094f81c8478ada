package simnet

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func TestLinkValidate(t *testing.T) {
	for field, l := range map[string]Link{
		"Latency": {Latency: -1}, "Jitter": {Jitter: -1}, "BytesPerSecond": {BytesPerSecond: -1}, "SegmentBytes": {SegmentBytes: -1},
		"Loss": {Loss: 1.1}, "Duplicate": {Duplicate: -0.1}, "Reorder": {Reorder: math.NaN()},
	} {
		if err := l.Validate(); err == nil || !strings.Contains(err.Error(), "Link."+field) {
			t.Errorf("an invalid %s: %v", field, err)
		}
	}
	l := Link{Latency: 1, Jitter: 1, BytesPerSecond: 1, SegmentBytes: 1, Loss: 1, Duplicate: 1, Reorder: 1}
	if err := l.Validate(); err != nil {
		t.Error(err)
	}
}

func TestTransmission(t *testing.T) {
	for _, c := range []struct {
		bytes int
		rate  int64
		want  time.Duration
	}{
		{0, 1, 0},
		{1, 1, 1e9},
		{1, 3, 333_333_334}, // rounded up
		{1000, 1_000_000, 1_000_000},
		{math.MaxInt32, 1, math.MaxInt32 * 1e9},
		{1, math.MaxInt64, 1},
	} {
		if got := transmission(c.bytes, c.rate); got != c.want {
			t.Errorf("%d bytes at %d B/s take %v, want %v", c.bytes, c.rate, got, c.want)
		}
	}
}

// What is sent while the line is busy waits until it is idle, and no longer.
func TestBandwidthQueue(t *testing.T) {
	l := line{link: Link{Latency: 5, BytesPerSecond: 1e9}}
	r := newRand(1)
	for _, c := range []struct{ now, bytes, want int64 }{{0, 100, 105}, {0, 100, 205}, {150, 10, 215}, {1000, 10, 1015}} {
		if got := l.transit(r, c.now, int(c.bytes)); got != c.want {
			t.Errorf("%d bytes sent at %d arrive at %d, want %d", c.bytes, c.now, got, c.want)
		}
	}
}

func TestSegmentBytes(t *testing.T) {
	r := newRand(1)
	for _, c := range []struct {
		link   Link
		unsent int
		least  int
		most   int
	}{
		{Link{}, 5000, 5000, 5000},
		{Link{SegmentBytes: 1460}, 5000, 1460, 1460},
		{Link{SegmentBytes: 1460}, 10, 10, 10},
		{Link{SegmentBytes: 4, RandomSegments: true}, 5000, 1, 4},
		{Link{RandomSegments: true}, 3, 1, 3},
		{Link{RandomSegments: true}, 1, 1, 1},
	} {
		l := line{link: c.link}
		seen := map[int]bool{}
		for range 1000 {
			seen[l.segmentBytes(r, c.unsent)] = true
		}
		for n := range seen {
			if n < c.least || n > c.most {
				t.Errorf("%+v: a segment of %d bytes, want %d to %d", c.link, n, c.least, c.most)
			}
		}
		if len(seen) != c.most-c.least+1 {
			t.Errorf("%+v: sizes %v, want all from %d to %d", c.link, seen, c.least, c.most)
		}
	}
}

// near reports whether n of trials may have happened with the probability: it is within five standard
// deviations.
func near(n, trials int, probability float64) bool {
	mean := float64(trials) * probability
	return math.Abs(float64(n)-mean) <= 5*math.Sqrt(mean*(1-probability))
}

// datagrams sends numbered datagrams, one in each interval, and returns the numbers in the order of
// arrival, and for each how long it was on the way.
func datagrams(t *testing.T, seed uint64, link Link, count int, interval time.Duration) (order []int, delays []time.Duration) {
	bubble(t, Config{Seed: seed, Link: link, TraceEvents: -1}, func(t *testing.T, n *Network) {
		from, to := listenPacket(t, n.Host()), listenPacket(t, n.Host())
		to.SetReadBuffer(1 << 20)
		start := time.Now()
		go func() {
			for i := range count {
				if i > 0 {
					time.Sleep(interval)
				}
				if _, err := from.WriteTo(fmt.Append(nil, i), to.LocalAddr()); err != nil {
					t.Error(err)
				}
			}
		}()
		to.SetReadDeadline(start.Add(time.Duration(count)*interval + time.Hour))
		b := make([]byte, 100)
		for {
			k, addr, err := to.ReadFrom(b)
			if err != nil {
				break // the deadline
			}
			if addr.String() != from.LocalAddr().String() {
				t.Fatalf("from %v, want %v", addr, from.LocalAddr())
			}
			var i int
			fmt.Sscan(string(b[:k]), &i)
			order = append(order, i)
			delays = append(delays, time.Since(start)-time.Duration(i)*interval)
		}
	})
	return order, delays
}

const interval = 10 * time.Millisecond

func TestLoss(t *testing.T) {
	const count, loss = 4000, 0.2
	link := Link{Latency: time.Millisecond, Loss: loss}
	got, _ := datagrams(t, 1, link, count, interval)
	if !near(count-len(got), count, loss) {
		t.Errorf("%d of %d datagrams are lost; the probability is %v", count-len(got), count, loss)
	}
	if !slices.IsSorted(got) {
		t.Error("loss has reordered datagrams")
	}
	again, _ := datagrams(t, 1, link, count, interval)
	other, _ := datagrams(t, 2, link, count, interval)
	if !slices.Equal(got, again) {
		t.Error("other datagrams are lost with the same seed")
	}
	if slices.Equal(got, other) {
		t.Error("the same datagrams are lost with another seed")
	}
	if got, _ := datagrams(t, 1, Link{Loss: 1}, 10, interval); len(got) > 0 {
		t.Errorf("%d datagrams arrive though all are lost", len(got))
	}
}

func TestDuplicate(t *testing.T) {
	const count, duplicate = 4000, 0.1
	got, _ := datagrams(t, 1, Link{Duplicate: duplicate}, count, interval)
	if !near(len(got)-count, count, duplicate) {
		t.Errorf("%d of %d datagrams arrive twice; the probability is %v", len(got)-count, count, duplicate)
	}
	seen := make([]int, count)
	for _, i := range got {
		seen[i]++
	}
	for i, k := range seen {
		if k < 1 || k > 2 {
			t.Errorf("datagram %d arrives %d times", i, k)
		}
	}
}

// Jitter delays datagrams, evenly, and does not reorder them.
func TestJitter(t *testing.T) {
	const latency, jitter = 20 * time.Millisecond, 5 * time.Millisecond
	got, delays := datagrams(t, 1, Link{Latency: latency, Jitter: jitter}, 1000, interval)
	if len(got) != 1000 || !slices.IsSorted(got) {
		t.Errorf("%d datagrams arrive, want 1000 in order", len(got))
	}
	if lo, hi := slices.Min(delays), slices.Max(delays); lo < latency || lo > latency+jitter/50 || hi > latency+jitter+10*slack || hi < latency+jitter-jitter/50 {
		t.Errorf("the latency is from %v to %v, want %v to %v", lo, hi, latency, latency+jitter)
	}
	// Here datagrams are sent more often than the jitter is long.
	got, _ = datagrams(t, 1, Link{Jitter: 10 * interval}, 1000, interval)
	if len(got) != 1000 || !slices.IsSorted(got) {
		t.Error("jitter reorders datagrams")
	}
}

func TestReorder(t *testing.T) {
	const count, reorder = 2000, 0.1
	for _, link := range []Link{{Reorder: reorder, Latency: 200 * time.Millisecond}, {Reorder: reorder}} {
		got, _ := datagrams(t, 1, link, count, interval/20)
		late := 0
		for i := range got {
			if i > 0 && got[i] < slices.Max(got[:i]) {
				late++
			}
		}
		// Not each one that may be overtaken is.
		if late == 0 || late > count*reorder*1.3 {
			t.Errorf("%+v: %d of %d datagrams are overtaken; the probability is %v", link, late, count, reorder)
		}
		slices.Sort(got)
		for i := range got {
			if got[i] != i {
				t.Fatalf("%+v: not each datagram arrives once: %v", link, got)
			}
		}
	}
}

// A connection takes a round trip, and each way its own latency.
func TestLatency(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		a, b := n.Host(), n.Host()
		n.SetLink(a, b, Link{Latency: 30 * time.Millisecond})
		n.SetLink(b, a, Link{Latency: 10 * time.Millisecond})
		start := time.Now()
		client, server := connect(t, a, b)
		took(t, "connecting and accepting", start, 70*time.Millisecond) // until the ACK of the SYN-ACK is there
		start = time.Now()
		write(t, client, "ping")
		took(t, "writing", start, 0)
		read(t, server)
		took(t, "a ping", start, 30*time.Millisecond)
		start = time.Now()
		write(t, server, "pong")
		read(t, client)
		took(t, "a pong", start, 10*time.Millisecond)
		client.Close()
		start = time.Now()
		if _, err := server.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read = %v, want EOF", err)
		}
		took(t, "a FIN", start, 30*time.Millisecond)
	})
}

func TestLoopbackHasNoLink(t *testing.T) {
	bubble(t, Config{Link: Link{Latency: time.Hour}}, func(t *testing.T, n *Network) {
		h := n.Host()
		start := time.Now()
		a, b := connect(t, h, h)
		write(t, a, "x")
		read(t, b)
		took(t, "loopback", start, 0)
		n.SetLink(h, h, Link{Latency: time.Second})
		start = time.Now()
		write(t, a, "x")
		read(t, b)
		took(t, "loopback with a link", start, time.Second)
	})
}

func TestBandwidth(t *testing.T) {
	const rate, size = 1_000_000, 500_000
	bubble(t, Config{Link: Link{BytesPerSecond: rate, SegmentBytes: 1460}}, func(t *testing.T, n *Network) {
		client, server := connect(t, n.Host(), n.Host())
		start := time.Now()
		go func() {
			client.Write(make([]byte, size))
			client.Close()
		}()
		got, err := io.Copy(io.Discard, server)
		if got != size || err != nil {
			t.Fatalf("%d bytes, %v, want %d", got, err, size)
		}
		bytes := size + (size/1460+2)*tcpHeaderBytes
		want := time.Duration(bytes) * time.Second / rate
		if d := time.Since(start); d < want*99/100 || d > want*101/100 {
			t.Errorf("%d bytes at %d B/s take %v, want %v", bytes, rate, d, want)
		}
	})
}

// Datagrams take bandwidth for their headers, too.
func TestBandwidthOfDatagrams(t *testing.T) {
	bubble(t, Config{Link: Link{BytesPerSecond: 1e6}}, func(t *testing.T, n *Network) {
		from, to := listenPacket(t, n.Host()), listenPacket(t, n.Host())
		start := time.Now()
		for range 10 {
			sendTo(t, from, string(make([]byte, 958)), to.LocalAddr().String())
		}
		for range 10 {
			receive(t, to)
		}
		took(t, "10 datagrams", start, 10*time.Millisecond)
	})
}

// What is sent on a faster link does not overtake what is on its way. When that has arrived, a zero
// link delivers within the call again.
func TestLinkChanges(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		a, b := n.Host(), n.Host()
		client, server := connect(t, a, b)
		from, to := listenPacket(t, a), listenPacket(t, b)
		send := func(text string) {
			if _, e := client.s.Send([][]byte{[]byte(text)}, 0); e != 0 {
				t.Fatal(e)
			}
			if _, e := from.s.SendTo([]byte(text), to.s.sockaddr(to.s.local)); e != 0 {
				t.Fatal(e)
			}
		}
		n.SetLink(a, b, Link{Latency: time.Second})
		send("slow,")
		n.SetLink(a, b, Link{})
		send("fast")
		if k, _ := server.s.UnreadBytes(); k != 0 {
			t.Error("bytes have overtaken others")
		}
		if k, _ := to.s.UnreadBytes(); k != 0 {
			t.Error("a datagram has overtaken another")
		}
		n.NewActor().Wait(2 * time.Second)
		if got := read(t, server); got != "slow,fast" {
			t.Errorf("received %q", got)
		}
		for _, want := range []string{"slow,", "fast"} {
			if got, _ := receive(t, to); got != want {
				t.Errorf("received %q, want %q", got, want)
			}
		}
		send("at once")
		if k, _ := server.s.UnreadBytes(); k == 0 {
			t.Error("a zero link does not deliver bytes at once")
		}
		if k, _ := to.s.UnreadBytes(); k == 0 {
			t.Error("a zero link does not deliver a datagram at once")
		}
	})
}

// numbered returns bytes that show where they are from.
func numbered(size int) []byte {
	b := make([]byte, 0, size+8)
	for i := 0; len(b) < size; i++ {
		b = fmt.Appendf(b, "%d,", i)
	}
	return b[:size]
}

// exchange sends numbered bytes in both directions of a connection at once, and checks them.
func exchange(t *testing.T, size int, a, b net.Conn) {
	want := numbered(size)
	ends := []net.Conn{a, b}
	done := make(chan struct{}, 2*len(ends))
	for _, c := range ends {
		go func() {
			defer func() { done <- struct{}{} }()
			for rest := want; len(rest) > 0; {
				k, err := c.Write(rest[:min(len(rest), 3000)])
				if err != nil {
					t.Errorf("Write: %v", err)
					return
				}
				rest = rest[k:]
			}
			c.(*Conn).CloseWrite()
		}()
		go func() {
			defer func() { done <- struct{}{} }()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v, want the %d that were written", len(got), err, len(want))
			}
		}()
	}
	for range cap(done) {
		<-done
	}
}

// TCP loses, duplicates and reorders nothing, whatever the link and faults do, and everything ends.
func TestStreamsOnBadLinks(t *testing.T) {
	bad := Faults{PartialReads: 0.5, PartialWrites: 0.5, WouldBlock: 0.5}
	for name, c := range map[string]Config{
		"zero":     {},
		"jitter":   {Link: Link{Latency: time.Millisecond, Jitter: 20 * time.Millisecond, SegmentBytes: 100}},
		"loss":     {Link: Link{Loss: 0.2, SegmentBytes: 1000}},
		"random":   {Link: Link{SegmentBytes: 500, RandomSegments: true}},
		"one byte": {Link: Link{SegmentBytes: 1}},
		"faults":   {Faults: bad},
		"all": {Faults: bad, Link: Link{
			Latency: time.Millisecond, Jitter: time.Millisecond, BytesPerSecond: 1e5,
			SegmentBytes: 700, RandomSegments: true, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c.Seed, c.TraceEvents = 3, 100
			bubble(t, c, func(t *testing.T, n *Network) {
				a, b := connect(t, n.Host(), n.Host())
				exchange(t, 60_000, a, b)
			})
		})
	}
}

// The trace of a run is the same with the same seed, and another one with another seed.
func TestTraceIsThatOfTheSeed(t *testing.T) {
	run := func(seed uint64) (trace string) {
		c := Config{
			Seed: seed, TraceEvents: 100_000, Faults: Faults{PartialReads: 0.3, PartialWrites: 0.3, WouldBlock: 0.3},
			Link: Link{Latency: time.Millisecond, Jitter: time.Millisecond, BytesPerSecond: 1e6, SegmentBytes: 500, RandomSegments: true, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1},
		}
		bubble(t, c, func(t *testing.T, n *Network) {
			one, two := n.Host(), n.Host()
			a, b := connect(t, one, two)
			from, to := listenPacket(t, one), listenPacket(t, two)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range 100 {
					from.WriteTo([]byte("x"), to.LocalAddr())
				}
			}()
			exchange(t, 30_000, a, b)
			<-done
			n.NewActor().Wait(time.Minute)
			trace = n.Trace()
		})
		return trace
	}
	first := run(7)
	if strings.Count(first, "\n") < 500 {
		t.Fatalf("a trace of only %d lines", strings.Count(first, "\n"))
	}
	for range 3 {
		if again := run(7); again != first {
			t.Fatalf("the trace of the same seed differs: %s", firstDifference(first, again))
		}
	}
	if run(8) == first {
		t.Error("the trace of another seed is the same")
	}
}
