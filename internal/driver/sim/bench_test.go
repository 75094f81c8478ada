package sim_test

import (
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/sim"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// bencher echoes on a stream.
type bencher struct {
	driver.Stream
	drv  driver.Driver
	bufs [1][]byte
	buf  [4 << 10]byte
	got  int // bytes in buf; the last ones, bufs, are not sent yet
	err  error
}

func (x *bencher) Received(b []byte) bool {
	// The peer sends the next message only after this one was echoed.
	unsent := len(x.bufs[0])
	end := x.got + copy(x.buf[x.got:], b)
	x.bufs[0], x.got = x.buf[x.got-unsent:end], end
	if unsent == 0 {
		x.send()
	}
	return true
}

func (x *bencher) send() {
	n, err := x.drv.Send(&x.Stream, x.bufs[:])
	x.advance(n, err)
}

func (x *bencher) advance(n int, err error) {
	x.err = err
	if x.bufs[0] = x.bufs[0][n:]; len(x.bufs[0]) == 0 {
		x.got = 0
	}
}

func (x *bencher) Sent(n int, err error) {
	if x.advance(n, err); len(x.bufs[0]) > 0 {
		x.send()
	}
}
func (x *bencher) Connected(error)    {}
func (x *bencher) ReceiveEnded(error) {}
func (x *bencher) Failed(err error)   { x.err = err }
func (x *bencher) Released()          {}

// BenchmarkEcho is 100 streams that each echo a message of 64 bytes: an operation is one echo.
func BenchmarkEcho(b *testing.B) {
	for name, a := range map[string]sim.Adversity{"None": {}, "All": all} {
		b.Run(name, func(b *testing.B) { benchmarkEcho(b, a) })
	}
}

func benchmarkEcho(b *testing.B, a sim.Adversity) {
	const streams = 100
	n := simnet.New(simnet.Config{Seed: 1})
	defer n.Close()
	h := sim.NewHost(n.Host(), a)
	drv, err := h.OpenDriver(driver.Config{ScratchBytes: 64 << 10, BudgetBytes: 64 << 10})
	if err != nil {
		b.Fatal(err)
	}
	defer drv.Close()
	l, err := sock.ListenTCP(anyLoopback, sock.OnNetwork(networkOf(h)))
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var peers []*simnet.Socket
	var ends []*bencher
	for range streams {
		c, err := sock.ConnectTCP(l.Addr(), sock.OnNetwork(networkOf(h)))
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		x := &bencher{drv: drv}
		x.Up = x
		if !testkit.Eventually(func() bool { return l.AcceptInto(&x.Stream.Stream) == nil }) {
			b.Fatal("no connection to accept")
		}
		if err := drv.Attach(&x.Stream); err != nil {
			b.Fatal(err)
		}
		drv.Resume(&x.Stream)
		ends = append(ends, x)
		peer, _ := simnet.SocketOf(handle.Of(c).Virtual())
		peers = append(peers, peer)
	}
	message := [][]byte{make([]byte, 64)}
	answer := [][]byte{make([]byte, 64)}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		peers[i%streams].Send(message, 0)
		if i%streams != streams-1 {
			continue
		}
		for j := 0; j < streams; {
			if k, _ := peers[j].UnreadBytes(); k < len(message[0]) {
				if err := drv.Turn(0); err != nil {
					b.Fatal(err)
				}
				continue
			}
			peers[j].Recv(answer, 0)
			j++
		}
	}
	for _, x := range ends {
		if x.err != nil {
			b.Error(x.err)
		}
		drv.Release(&x.Stream)
	}
	if err := drv.Turn(0); err != nil {
		b.Error(err)
	}
}
