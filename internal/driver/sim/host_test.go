package sim_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/sim"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

var someConfig = driver.Config{ScratchBytes: 4 << 10, BudgetBytes: 16 << 10}

// TestManualClock: on a clock that the test advances, a turn ends exactly at its timeout, and Advance
// returns when the loop waits again.
func TestManualClock(t *testing.T) {
	testkit.CheckLeaks(t)
	n := simnet.New(simnet.Config{Manual: true})
	defer n.Close()
	h := sim.NewHost(n.Host(), sim.Adversity{})
	if h.Clock() != driver.Clock(n) {
		t.Error("Clock is not the network's")
	}
	drv, err := h.OpenDriver(someConfig)
	if err != nil {
		t.Fatal(err)
	}
	var turns atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for turns.Load() < 4 {
			if err := drv.Turn(time.Hour); err != nil {
				t.Error(err)
			}
			turns.Add(1)
		}
		drv.Close()
	}()
	for i, step := range []struct {
		d    time.Duration
		want int32
	}{{time.Hour - 1, 0}, {1, 1}, {time.Hour, 2}, {59 * time.Minute, 2}, {time.Hour, 3}, {time.Hour, 4}} {
		n.Advance(step.d)
		if got := turns.Load(); got != step.want {
			t.Errorf("after step %d, %d turns of an hour have ended; want %d", i, got, step.want)
		}
	}
	<-done
}

// TestOtherSockets: a driver refuses the sockets of other hosts and of the operating system, and a Poll
// those of a host.
func TestOtherSockets(t *testing.T) {
	testkit.CheckLeaks(t)
	n := simnet.New(simnet.Config{})
	defer n.Close()
	here, there := sim.NewHost(n.Host(), sim.Adversity{}), sim.NewHost(n.Host(), sim.Adversity{})
	if here.Clock() != nil {
		t.Error("the clock is package time's, but Clock is not nil")
	}
	drv, err := here.OpenDriver(someConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer drv.Close()
	for name, from := range map[string]*sim.Host{"here": here, "there": there, "the operating system": nil} {
		var options []sock.Option
		if from != nil {
			options = append(options, sock.OnNetwork(networkOf(from)))
		}
		tcp, err := sock.ListenTCP(anyLoopback, options...)
		if err != nil {
			t.Fatal(err)
		}
		defer tcp.Close()
		c, err := sock.ConnectTCP(tcp.Addr(), options...)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		udp, err := sock.ListenUDP(anyLoopback, options...)
		if err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		if owns := here.Owns(handle.Of(tcp).Virtual()); owns != (from == here) {
			t.Errorf("Owns(a socket of %s) = %v", name, owns)
		}
		s := &driver.Stream{}
		if !testkit.Eventually(func() bool { return tcp.AcceptInto(&s.Stream) == nil }) {
			t.Fatal("no connection to accept")
		}
		defer s.Close()
		checkRefused(t, name+", Attach", from == here, drv.Attach(s))
		checkRefused(t, name+", Listen", from == here, drv.Listen(&driver.Listener{Acceptor: tcp}))
		checkRefused(t, name+", Bind", from == here, drv.Bind(&driver.PacketSocket{UDPSocket: udp}))
	}
}

func checkRefused(t *testing.T, what string, want bool, err error) {
	t.Helper()
	if (err == nil) != want || err != nil && !errors.Is(err, pollux.ErrNotPollable) {
		t.Errorf("%s: %v", what, err)
	}
}
