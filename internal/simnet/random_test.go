package simnet

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"
)

var seeds = flag.Int("simnet.seeds", 100, "seeds of TestRandomStreams")

// A transfer is one direction of a connection of TestRandomStreams: bytes whose values their numbers
// determine.
type transfer struct {
	from, to *Conn
	bytes    int
	r        *rand.Rand
	reader   *rand.Rand
}

func byteAt(i int) byte { return byte(i ^ i>>8 ^ i>>16) }

func (f *transfer) send() error {
	buf := make([]byte, 200_000)
	for sent := 0; sent < f.bytes; {
		b := buf[:1+f.r.IntN(min(len(buf), f.bytes-sent))]
		for i := range b {
			b[i] = byteAt(sent + i)
		}
		n, err := f.from.Write(b)
		if sent += n; err != nil {
			return fmt.Errorf("after %d bytes: %w", sent, err)
		}
		pauseAtRandom(f.r)
	}
	return f.from.CloseWrite()
}

func (f *transfer) receive() error {
	buf := make([]byte, 200_000)
	for got := 0; ; {
		b := buf[:1+f.reader.IntN(len(buf))]
		n, err := f.to.Read(b)
		for i, v := range b[:n] {
			if v != byteAt(got+i) {
				return fmt.Errorf("byte %d is %d, want %d", got+i, v, byteAt(got+i))
			}
		}
		switch got += n; {
		case err == io.EOF && got == f.bytes:
			return nil
		case err != nil:
			return fmt.Errorf("after %d of %d bytes: %w", got, f.bytes, err)
		}
		pauseAtRandom(f.reader)
	}
}

func pauseAtRandom(r *rand.Rand) {
	if r.IntN(4) == 0 {
		time.Sleep(time.Duration(r.Int64N(int64(20 * time.Millisecond))))
	}
}

func randomLink(r *rand.Rand) (l Link) {
	for _, set := range []func(){
		func() { l.Latency = time.Duration(r.Int64N(int64(50 * time.Millisecond))) },
		func() { l.Jitter = time.Duration(r.Int64N(int64(50 * time.Millisecond))) },
		func() { l.BytesPerSecond = 10_000 + r.Int64N(10_000_000) },
		func() { l.SegmentBytes = 100 + r.IntN(20_000) },
		func() { l.RandomSegments = l.SegmentBytes > 0 },
		func() { l.Loss = r.Float64() / 4 },
	} {
		if r.IntN(2) == 0 {
			set()
		}
	}
	return l
}

// randomStreams runs some transfers over random links, with buffers of random sizes, and returns the
// trace.
func randomStreams(t *testing.T, seed uint64) (trace string) {
	r := rand.New(rand.NewPCG(seed, 1))
	bubble(t, Config{Seed: seed, Link: randomLink(r)}, func(t *testing.T, n *Network) {
		hosts := []*Host{n.Host(), n.Host(), n.Host()}
		var all []*transfer
		for range 1 + r.IntN(4) {
			from, to := hosts[r.IntN(3)], hosts[r.IntN(3)]
			a, b := connect(t, from, to)
			for _, ends := range [][2]*Conn{{a, b}, {b, a}} {
				if r.IntN(2) == 0 {
					ends[0].SetReadBuffer(1 + r.IntN(50_000))
				}
				if r.IntN(2) == 0 {
					ends[0].SetWriteBuffer(1 + r.IntN(50_000))
				}
				f := &transfer{from: ends[0], to: ends[1], bytes: r.IntN(300_000)}
				f.r, f.reader = rand.New(rand.NewPCG(seed, r.Uint64())), rand.New(rand.NewPCG(seed, r.Uint64()))
				all = append(all, f)
			}
		}
		var wg sync.WaitGroup
		for _, f := range all {
			for what, call := range map[string]func() error{"send": f.send, "receive": f.receive} {
				wg.Go(func() {
					if err := call(); err != nil {
						t.Errorf("%s: %v", what, err)
					}
				})
			}
		}
		wg.Wait()
		time.Sleep(time.Hour) // the last acknowledgements
		for _, f := range all {
			if k, _ := f.from.s.UnackedBytes(); k != 0 {
				t.Errorf("%d bytes are not acknowledged", k)
			}
			if e := f.from.s.SocketError(); e != 0 {
				t.Errorf("a connection that has ended normally has failed: %v", e)
			}
		}
		trace = n.Trace()
		n.Close()
	})
	return trace
}

// Whatever the links and buffers, all bytes arrive, in order; and the run of a seed is always the same.
func TestRandomStreams(t *testing.T) {
	different := 0
	for seed := range uint64(*seeds) {
		trace := randomStreams(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d (go test -run TestRandomStreams -simnet.seeds %d)", seed, seed+1)
		}
		if seed%10 > 1 {
			continue
		}
		if again := randomStreams(t, seed); again != trace {
			t.Fatalf("seed %d gave two traces: %s", seed, firstDifference(trace, again))
		}
		if randomStreams(t, seed+1) != trace {
			different++
		}
	}
	if different == 0 {
		t.Error("different seeds gave the same traces")
	}
}

func firstDifference(a, b string) string {
	begin := 0
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("\n%.300s\nand\n%.300s", a[begin:], b[begin:])
		}
		if a[i] == '\n' {
			begin = i + 1
		}
	}
	return "one is longer"
}

// BenchmarkStream counts calls of a stream's ends: a send and a receive are two operations.
func BenchmarkStream(b *testing.B) {
	for _, size := range []int{100, 10_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			n := New(Config{})
			defer n.Close()
			client, server := benchmarkPair(b, n)
			buf := [][]byte{make([]byte, size)}
			b.ReportAllocs()
			for b.Loop() {
				if k, e := client.Send(buf, 0); k != size || e != 0 {
					b.Fatal(k, e)
				}
				if k, e := server.Recv(buf, 0); k != size || e != 0 {
					b.Fatal(k, e)
				}
			}
			b.ReportMetric(float64(2*b.N)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}

// BenchmarkDelayedStream is the same with a link that delays.
func BenchmarkDelayedStream(b *testing.B) {
	n := New(Config{Manual: true, Link: Link{Latency: time.Millisecond}})
	defer n.Close()
	client, server := benchmarkPair(b, n)
	buf := [][]byte{make([]byte, 100)}
	b.ReportAllocs()
	for b.Loop() {
		client.Send(buf, 0)
		n.Advance(time.Millisecond)
		if k, e := server.Recv(buf, 0); k != 100 || e != 0 {
			b.Fatal(k, e)
		}
	}
	b.ReportMetric(float64(2*b.N)/b.Elapsed().Seconds(), "ops/s")
}

func benchmarkPair(b *testing.B, n *Network) (client, server *Socket) {
	h, other := n.Host(), n.Host()
	l, err := other.Listen("tcp", ":80")
	if err != nil {
		b.Fatal(err)
	}
	s, fd, err := h.openFor("dial", "tcp", address{ip: l.s.local.ip})
	if err != nil {
		b.Fatal(err)
	}
	to, _ := parseAddress("tcp", "10.0.0.2:80")
	n.mu.Lock()
	if e := s.protocol.connectLocked(to); e != syscall.EINPROGRESS {
		b.Fatal(e)
	}
	n.mu.Unlock()
	if n.config.Manual {
		n.Advance(time.Second)
	}
	n.mu.Lock()
	server, _, e := l.s.acceptLocked()
	n.mu.Unlock()
	if e != 0 {
		b.Fatal(e)
	}
	_ = fd
	return s, server
}
