package uring

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// A datagram without an address goes to the peer that the socket had when it was sent, also if
// another goroutine connects the socket to somebody else before the ring has submitted it.
func TestL12PeerIsKeptUntilSubmission(t *testing.T) {
	for _, sockets := range []int{1, 3 * int(small.entries)} { // these do not all fit into the submission queue
		t.Run(fmt.Sprint(sockets), func(t *testing.T) { testPeerIsKept(t, sockets) })
	}
}

func testPeerIsKept(t *testing.T, sockets int) {
	b := newBench(t, small)
	var peers [2]*net.UDPConn
	for i := range peers {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		peers[i] = c
	}
	at := func(i int) netip.AddrPort { return peers[i].LocalAddr().(*net.UDPAddr).AddrPort() }
	all := make([]*driver.PacketSocket, sockets)
	for i := range all {
		u, err := sock.ConnectUDP(at(0))
		if err != nil {
			t.Fatal(err)
		}
		all[i] = &driver.PacketSocket{UDPSocket: u, Up: noPackets{t}}
		if err := b.Bind(all[i]); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		b.Turn(0)
	}
	for _, p := range all {
		if n, err := b.SendPackets(p, []sock.Message{{Data: []byte("x")}}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	b.sendDue() // a turn has begun
	reconnected := make(chan error, 1)
	go func() {
		var err error
		for _, p := range all {
			b.KeepPeer(p)
			if err == nil {
				err = p.Connect(at(1))
			}
		}
		reconnected <- err
	}()
	select { // it must wait for the turn to go on: how long it is given makes no difference then
	case err := <-reconnected:
		reconnected <- err
	case <-time.After(50 * time.Millisecond):
	}
	for range 3 {
		b.Turn(0)
	}
	if err := <-reconnected; err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 10)
	for i := range all {
		peers[0].SetReadDeadline(time.Now().Add(testkit.Watchdog))
		if _, err := peers[0].Read(buffer); err != nil {
			t.Fatalf("datagram %d of %d has not come to the first peer: %v", i, sockets, err)
		}
	}
	for _, p := range all {
		b.Unbind(p)
	}
	for range 3 {
		b.Turn(0)
	}
}
