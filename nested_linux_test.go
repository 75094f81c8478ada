package pollux_test

import (
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// TestQ2NestedQueue registers the descriptor of another epoll instance (epoll(7) allows
// that): it is readable while the inner queue has events, and not ready afterwards.
func TestQ2NestedQueue(t *testing.T) {
	for _, b := range pollux.Backends() {
		for _, trigger := range []pollux.Trigger{pollux.Edge, pollux.Level, pollux.Oneshot} {
			t.Run(b.Name+"/"+trigger.String(), func(t *testing.T) {
				t.Setenv(pollux.BackendEnv, b.Name)
				nestedQueue(t, trigger)
			})
		}
	}
}

func nestedQueue(t *testing.T, trigger pollux.Trigger) {
	inner, e := sys.EpollCreate()
	if e != 0 {
		t.Fatal(e)
	}
	src, err := sock.FromFD(uintptr(inner))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	pair, e := sys.Socketpair(sys.SOCK_STREAM)
	if e != 0 {
		t.Fatal(e)
	}
	defer sys.Close(pair[0])
	defer sys.Close(pair[1])
	ev := sys.MakeEpollEvent(sys.EPOLLIN, 1)
	if e := sys.EpollCtl(inner, sys.EPOLL_CTL_ADD, pair[0], &ev); e != 0 {
		t.Fatal(e)
	}

	q, err := pollux.New()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if err := q.Register(src, 7, pollux.Readable, trigger); err != nil {
		t.Fatal(err)
	}
	events := make([]pollux.Event, 4)
	for round := range 10 {
		if n, err := q.Wait(events, 5*time.Millisecond); n != 0 || err != nil {
			t.Fatalf("round %d: Wait = %v, %v; the inner queue is empty", round, events[:n], err)
		}
		if _, e := sys.Write(pair[1], []byte("x")); e != 0 {
			t.Fatal(e)
		}
		if n, err := q.Wait(events, 30*time.Second); n != 1 || err != nil || events[0].Token() != 7 || !events[0].Readable() {
			t.Fatalf("round %d: Wait = %v, %v; want token 7, readable", round, events[:n], err)
		}
		var got [4]sys.EpollEvent
		if n, e := sys.EpollPoll(inner, got[:]); n != 1 || e != 0 {
			t.Fatalf("round %d: the inner queue has %d events, %v", round, n, e)
		}
		if _, e := sys.Read(pair[0], make([]byte, 4)); e != 0 {
			t.Fatal(e)
		}
		// No backend can see that the inner queue was read other than through src.
		if err := q.Reregister(src, 7, pollux.Readable, trigger); err != nil {
			t.Fatal(err)
		}
	}
}
