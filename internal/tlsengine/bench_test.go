package tlsengine

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
)

// messages are those of the measurements: one record each.
var messages = []int{64, 16384}

// inMemory returns a Conn of each side, with full records.
func inMemory(t testing.TB, mode Mode, version uint16) (s, c *Conn) {
	t.Helper()
	server, client := tlstest.Configs(version)
	server.DynamicRecordSizingDisabled, client.DynamicRecordSizingDisabled = true, true
	s, c, err := pair(Options{Config: server, mode: mode}, Options{Config: client, mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func TestAMessageAllocatesNothing(t *testing.T) {
	if testkit.Race {
		t.Skip("skipped: with the race detector, sync.Pool drops objects of crypto/tls at random")
	}
	for _, mode := range []Mode{InPlace, Copying} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, n := range messages {
				s, c := inMemory(t, mode, version)
				data, buf := make([]byte, n), make([]byte, 0, MaxSendBytes(n))
				if allocs := testing.AllocsPerRun(200, func() {
					records, err := s.Send(buf, data)
					if err != nil {
						t.Fatal(err)
					}
					if plain, err := c.Receive(records); err != nil || len(plain) != n {
						t.Fatalf("%d bytes, %v", len(plain), err)
					}
				}); allocs > allocations(mode) {
					t.Errorf("%v, %s, %d bytes: %v allocations", mode, tls.VersionName(version), n, allocs)
				}
			}
		}
	}
}

// allocations is how many a message may have: crypto/tls itself makes one for each Read that it does not find in
// its buffer.
func allocations(m Mode) float64 {
	if m == Copying {
		return 1
	}
	return 0
}

// BenchmarkMessage is one message from a Conn to another, beside crypto/tls on both sides of a pipe in memory.
func BenchmarkMessage(b *testing.B) {
	for _, n := range messages {
		for _, mode := range []Mode{InPlace, Copying} {
			b.Run(fmt.Sprintf("%d/%v", n, mode), func(b *testing.B) {
				s, c := inMemory(b, mode, tls.VersionTLS13)
				data, buf := make([]byte, n), make([]byte, 0, MaxSendBytes(n))
				b.ReportAllocs()
				b.SetBytes(int64(n))
				for b.Loop() {
					records, _ := s.Send(buf, data)
					if plain, err := c.Receive(records); err != nil || len(plain) != n {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(fmt.Sprintf("%d/tls.Conn", n), func(b *testing.B) {
			s, c := plainPair(b)
			data, buf := make([]byte, n), make([]byte, n)
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				s.Write(data)
				if _, err := io.ReadFull(c, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// queueConn is a transport in memory whose Write does not wait, and whose Read is called after it.
type queueConn struct {
	peerConn
	in, out *[]byte
}

func (q *queueConn) Read(p []byte) (int, error) {
	if len(*q.in) == 0 {
		return 0, errWouldBlock
	}
	n := copy(p, *q.in)
	*q.in = (*q.in)[:copy(*q.in, (*q.in)[n:])]
	return n, nil
}

func (q *queueConn) Write(p []byte) (int, error) {
	*q.out = append(*q.out, p...)
	return len(p), nil
}

// switching is a transport that is exchanged after the handshake.
type switching struct{ net.Conn }

func plainPair(t testing.TB) (s, c *tls.Conn) {
	t.Helper()
	server, client := tlstest.Configs(tls.VersionTLS13)
	server.DynamicRecordSizingDisabled, client.DynamicRecordSizingDisabled = true, true
	server.SessionTicketsDisabled = true
	x, y := newStream(-1, nil), newStream(-1, nil)
	sides := [2]*switching{{&peerConn{in: x, out: y}}, {&peerConn{in: y, out: x}}}
	s, c = tls.Server(sides[0], server), tls.Client(sides[1], client)
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var a, b []byte
	sides[0].Conn, sides[1].Conn = &queueConn{in: &a, out: &b}, &queueConn{in: &b, out: &a}
	return s, c
}

// BenchmarkHandshake is both sides of a handshake, beside crypto/tls on goroutines.
func BenchmarkHandshake(b *testing.B) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	for name, pool := range map[string]*Pool{"pool": NewPool(PoolConfig{}), "no pool": nil} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := pair(Options{Config: server, Pool: pool, Timeout: time.Minute}, Options{Config: client, Pool: pool}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("tls.Conn", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			plainPair(b)
		}
	})
}
