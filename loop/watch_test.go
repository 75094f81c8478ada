package loop_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

func TestWatch(t *testing.T) {
	g := group(t, loop.Config{Loops: 1})
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	ready := make(chan pollux.Event, 16)
	w, err := g.Loops()[0].Watch(context.Background(), u, func(ev pollux.Event) {
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
