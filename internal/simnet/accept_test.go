package simnet_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// accept(2) returns the address of a peer that has reset the connection meanwhile.
func TestAcceptAfterReset(t *testing.T) {
	testkit.CheckLeaks(t)
	hosts := newHosts(t, 2)
	a, b := hosts[0], hosts[1]
	l, err := sock.ListenTCP(netip.AddrPortFrom(a.Addr(), 80), sock.OnNetwork(a))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := b.Dial(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetLinger(0)
	c.Close()
	var s sock.Stream
	from, err := l.AcceptFrom(&s)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if want := c.LocalAddr().String(); from.String() != want {
		t.Errorf("AcceptFrom returned the address %v, want %s", from, want)
	}
}
