package loop_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

func TestWatch(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"), onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	ready := make(chan pollux.Event, 16)
	w, err := g.Loops()[0].Watch(context.Background(), u, pollux.Readable, func(ev pollux.Event) {
		if ev.Readable() {
			ready <- ev
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.WriteTo([]byte("x"), u.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	receive(t, ready, "the datagram")
	stopped := make(chan bool)
	w.Stop(func() { close(stopped) })
	receive(t, stopped, "Stop's function")
	u.WriteTo([]byte("x"), u.LocalAddr())
	select {
	case ev := <-ready:
		t.Errorf("event %v after Stop", ev)
	case <-time.After(20 * time.Millisecond):
	}
}

// A watch reports the readiness that its interest asks for, and no other.
func TestWatchInterest(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	l := g.Loops()[0]
	var sockets [2]*sock.UDPSocket
	for i := range sockets {
		u, err := sock.ListenUDP(loopback, onNet(t)...)
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		sockets[i] = u
	}
	reads, writes := sockets[0], sockets[1]
	readable, writable := make(chan bool, 1), make(chan bool, 1)
	if _, err := l.Watch(context.Background(), reads, pollux.Readable, func(ev pollux.Event) {
		if !ev.Readable() || ev.Writable() {
			t.Errorf("a watch with interest Readable reported %v", ev)
		}
		select {
		case readable <- true:
		default:
		}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Watch(context.Background(), writes, pollux.Writable, func(ev pollux.Event) {
		if ev.Readable() || !ev.Writable() {
			t.Errorf("a watch with interest Writable reported %v", ev)
		}
		select {
		case writable <- true:
		default:
		}
	}); err != nil {
		t.Fatal(err)
	}
	receive(t, writable, "that the socket is writable")
	for _, u := range sockets {
		if _, err := u.WriteTo([]byte("x"), u.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	receive(t, readable, "that the socket is readable")
}

// An interest that is empty or unknown is ErrBadArgument; nothing is watched.
func TestWatchBadInterest(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	l := g.Loops()[0]
	u, err := sock.ListenUDP(loopback, onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	fail := func(ev pollux.Event) { t.Errorf("a refused watch reported %v", ev) }
	for _, interest := range []pollux.Interest{0, pollux.Priority << 1, pollux.Readable | 0x80} {
		_, err := l.Watch(context.Background(), u, interest, fail)
		if !errors.Is(err, loop.ErrBadArgument) || !errors.Is(err, pollux.ErrNoInterest) {
			t.Errorf("Watch with interest %#x: %v, want ErrBadArgument and ErrNoInterest", uint8(interest), err)
		}
		calls := 0
		l.WatchLater(u, interest, fail, func(err error) {
			if calls++; !errors.Is(err, loop.ErrBadArgument) {
				t.Errorf("WatchLater with interest %#x: %v, want ErrBadArgument", uint8(interest), err)
			}
		})
		if calls != 1 {
			t.Errorf("WatchLater with interest %#x called done %d times before it returned, want 1", uint8(interest), calls)
		}
	}
	if _, err := l.Watch(context.Background(), u, pollux.Readable, func(pollux.Event) {}); err != nil {
		t.Errorf("Watch after the errors: %v", err)
	}
}
