package sim_test

import (
	"fmt"
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/sim"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// inbox has the datagrams received, and how often Writable was called.
type inbox struct {
	got       []string
	writables int
}

func (x *inbox) Packets(ms []sock.Message) {
	for _, m := range ms {
		x.got = append(x.got, string(m.Data[:m.N]))
	}
}
func (x *inbox) Writable()             { x.writables++ }
func (x *inbox) SendFailed(int, error) {}
func (x *inbox) Released()             {}

// TestBlockedDatagrams: where sends would block by a fault of the network, AwaitWritable gets one
// Writable for each, and what a PacketSender has queued is sent nevertheless, in order.
func TestBlockedDatagrams(t *testing.T) {
	testkit.CheckLeaks(t)
	for _, a := range []sim.Adversity{{}, {AsyncPackets: true}, all} {
		n := simnet.New(simnet.Config{Seed: *seed, Faults: simnet.Faults{WouldBlock: 0.3}})
		defer n.Close()
		h := sim.NewHost(n.Host(), a)
		drv, err := h.OpenDriver(someConfig)
		if err != nil {
			t.Fatal(err)
		}
		u, err := sock.ListenUDP(anyLoopback, sock.OnNetwork(networkOf(h)))
		if err != nil {
			t.Fatal(err)
		}
		x := &inbox{}
		p := &driver.PacketSocket{UDPSocket: u, Up: x}
		if err := drv.Bind(p); err != nil {
			t.Fatal(err)
		}
		const total = 500
		_, queues := drv.(driver.PacketSender)
		blocked := 0
		for i := range total {
			m := []sock.Message{{Data: fmt.Append(nil, i), Addr: u.LocalAddr()}}
			for sendOne(drv, p, m) == sock.ErrWouldBlock {
				blocked++
				if !queues {
					drv.AwaitWritable(p)
				}
				turnUntil(t, drv, func() bool { return x.writables == blocked })
			}
			if i%20 == 0 { // before the receive buffer is full
				turnUntil(t, drv, func() bool { return len(x.got) == i+1 })
			}
		}
		turnUntil(t, drv, func() bool { return len(x.got) == total })
		for i, got := range x.got {
			if got != fmt.Sprint(i) {
				t.Fatalf("%+v: datagram %d is %q", a, i, got)
			}
		}
		if blocked == 0 && !queues {
			t.Errorf("%+v: of %d sends, none would block", a, total)
		}
		drv.Unbind(p)
		drv.Close()
	}
}

// TestKeepPeer: datagrams that are queued for the peer of a socket still go to it when the socket gets
// another one.
func TestKeepPeer(t *testing.T) {
	testkit.CheckLeaks(t)
	n := simnet.New(simnet.Config{Seed: *seed})
	defer n.Close()
	h := sim.NewHost(n.Host(), sim.Adversity{AsyncPackets: true})
	drv, err := h.OpenDriver(someConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer drv.Close()
	var sockets []*driver.PacketSocket // a sender and two peers
	for range 3 {
		u, err := sock.ListenUDP(anyLoopback, sock.OnNetwork(networkOf(h)))
		if err != nil {
			t.Fatal(err)
		}
		p := &driver.PacketSocket{UDPSocket: u, Up: &inbox{}}
		if err := drv.Bind(p); err != nil {
			t.Fatal(err)
		}
		defer drv.Unbind(p)
		sockets = append(sockets, p)
	}
	p, sender := sockets[0], drv.(driver.PacketSender)
	for i, to := range sockets[1:] {
		sender.KeepPeer(p)
		if err := p.Connect(to.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if _, err := sender.SendPackets(p, []sock.Message{{Data: fmt.Append(nil, "to peer ", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	for i, x := range sockets[1:] {
		in := x.Up.(*inbox)
		turnUntil(t, drv, func() bool { return len(in.got) > 0 })
		if want := fmt.Sprint("to peer ", i); len(in.got) != 1 || in.got[0] != want {
			t.Errorf("peer %d received %q, want %q", i, in.got, want)
		}
	}
}

func sendOne(drv driver.Driver, p *driver.PacketSocket, m []sock.Message) (err error) {
	if s, ok := drv.(driver.PacketSender); ok {
		_, err = s.SendPackets(p, m)
	} else {
		_, err = p.WriteBatch(m)
	}
	return err
}

func turnUntil(t *testing.T, drv driver.Driver, ok func() bool) {
	t.Helper()
	for !ok() {
		if err := drv.Turn(-1); err != nil {
			t.Fatal(err)
		}
	}
}
