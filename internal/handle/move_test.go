package handle

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/internal/misuse"
	"github.com/pollux-io/pollux/internal/sys"
)

// MoveTo moves the descriptor, which only its new handle closes.
func TestMoveTo(t *testing.T) {
	closed := 0
	var from, to Handle
	from.InitForeign(99, UnixStream, func(sys.FD) { closed++ })
	from.Adopt()
	o := &owner{ended: true}
	from.Set(Registration{Owner: o, Key: 7})
	if err := from.MoveTo(&to); err != nil {
		t.Fatal(err)
	}
	if o.released != 1 {
		t.Errorf("the registration with an owner that has ended was released %d times, want once", o.released)
	}
	if _, ok := from.Use(); ok {
		t.Error("Use of a handle whose descriptor was moved")
	}
	if err := from.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close after MoveTo: got %v, want ErrClosed", err)
	}
	if fd, ok := to.Use(); fd != 99 || !ok || to.Kind() != UnixStream || !to.Shared() || !to.Adopted() {
		t.Errorf("the new handle has descriptor %d, %v, kind %v, shared %v, adopted %v; want 99 and what the old one had", fd, ok, to.Kind(), to.Shared(), to.Adopted())
	}
	to.Done()
	if closed != 0 {
		t.Error("MoveTo closed the descriptor")
	}
	if to.Close(); closed != 1 {
		t.Errorf("closed %d times, want once", closed)
	}
	var next Handle
	for _, h := range []*Handle{&from, &to, {}} {
		if err := h.MoveTo(&next); !errors.Is(err, net.ErrClosed) || !next.IsNew() {
			t.Errorf("MoveTo of a closed handle: got %v, want ErrClosed", err)
		}
	}
}

// If MoveTo returns an error, nothing has changed.
func TestMoveToRefused(t *testing.T) {
	closed := 0
	var from, to Handle
	from.InitForeign(99, TCPStream, func(sys.FD) { closed++ })
	from.Use()
	if err := from.MoveTo(&to); !errors.Is(err, misuse.ErrBadArgument) {
		t.Errorf("MoveTo during a call: got %v, want ErrBadArgument", err)
	}
	from.Done()
	o := &owner{}
	from.Set(Registration{Owner: o, Key: 7})
	if err := from.MoveTo(&to); !errors.Is(err, ErrOtherPoll) {
		t.Errorf("MoveTo of a registered handle: got %v, want ErrOtherPoll", err)
	}
	if _, ok := from.Use(); !ok || o.released != 0 || closed != 0 || !to.IsNew() {
		t.Errorf("after an error: in use %v, %d times released, %d times closed; want true, 0, 0", ok, o.released, closed)
	}
	from.Done()
	from.Close()
}

// Whatever the order of MoveTo, Close and calls, the descriptor is closed once, and not during a call.
func TestMoveToUnderConcurrency(t *testing.T) {
	for range 500 {
		var inside, closed atomic.Int32
		var from, to Handle
		from.InitForeign(99, TCPStream, func(sys.FD) {
			if inside.Load() != 0 {
				t.Error("the descriptor was closed during a call")
			}
			closed.Add(1)
		})
		var all sync.WaitGroup
		for _, h := range []*Handle{&from, &from} {
			all.Go(func() {
				for range 5 {
					if _, ok := h.Use(); ok {
						inside.Add(1)
						inside.Add(-1)
						h.Done()
					}
				}
			})
		}
		all.Go(func() {
			if from.MoveTo(&to) == nil {
				to.Close()
			}
		})
		all.Go(func() { from.Close() })
		all.Wait()
		if n := closed.Load(); n != 1 {
			t.Fatalf("the descriptor was closed %d times, want once", n)
		}
	}
}
