package handle

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// owner counts the calls of its methods.
type owner struct {
	released, blocked int
	wants, ended      bool
}

func (o *owner) Release(sys.FD, selector.Key)                  { o.released++ }
func (o *owner) Rearm(sys.FD, selector.Key, selector.Interest) { o.blocked++ }
func (o *owner) Ended() bool                                   { return o.ended }
func (o *owner) NeedsRearm() bool                              { return o.wants }

func TestLastUserClosesDescriptor(t *testing.T) {
	closed := 0
	var h Handle
	h.InitForeign(99, Foreign, func(fd sys.FD) {
		if fd != 99 {
			t.Errorf("descriptor %d was closed, want 99", fd)
		}
		closed++
	})
	if fd, ok := h.Use(); fd != 99 || !ok {
		t.Fatalf("Use = %d, %v", fd, ok)
	}
	h.Use()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := h.Use(); ok {
		t.Error("Use of a closed handle")
	}
	h.Done()
	if closed != 0 {
		t.Error("the descriptor was closed during a call")
	}
	h.Done()
	if closed != 1 {
		t.Errorf("closed %d times after the last call, want once", closed)
	}
	if err := h.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

// The zero Handle has no descriptor, in particular not descriptor 0.
func TestZeroHandleIsClosed(t *testing.T) {
	var h Handle
	if fd, ok := h.Use(); ok {
		t.Errorf("Use = %d", fd)
	}
	if _, _, err := h.Lock(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Lock: %v", err)
	}
	if err := h.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close: %v", err)
	}
	if _, err := h.Detach(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Detach: %v", err)
	}
	closed := 0
	h.InitForeign(0, Foreign, func(fd sys.FD) { closed += int(fd) + 1 })
	if fd, ok := h.Use(); fd != 0 || !ok {
		t.Errorf("Use = %d, %v after Init with descriptor 0", fd, ok)
	}
	h.Done()
	if err := h.Close(); err != nil || closed != 1 {
		t.Errorf("Close: %v, %d", err, closed)
	}
}

func TestCloseEndsTheRegistrationFirst(t *testing.T) {
	var o owner
	var h Handle
	h.InitForeign(99, Foreign, func(sys.FD) {
		if o.released != 1 {
			t.Error("the descriptor was closed before the registration had ended")
		}
	})
	h.Lock()
	h.Set(Registration{Owner: &o, Key: 7})
	h.Unlock()
	h.Rearm(selector.Readable)
	if o.blocked != 0 {
		t.Error("Rearm was called though NeedsRearm is false")
	}
	o.wants = true
	h.Lock()
	h.Set(Registration{Owner: &o, Key: 7})
	h.Unlock()
	h.Rearm(selector.Readable)
	if o.blocked != 1 {
		t.Error("Rearm was not called")
	}
	if err := h.Close(); err != nil || o.released != 1 {
		t.Errorf("Close: %v, released %d times", err, o.released)
	}
	if _, _, err := h.Lock(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Lock of a closed handle: %v", err)
	}
}

func TestDetachLeavesTheDescriptorOpen(t *testing.T) {
	var o owner
	var h Handle
	h.InitForeign(99, Foreign, func(sys.FD) { t.Error("a detached descriptor was closed") })
	h.Lock()
	h.Set(Registration{Owner: &o})
	h.Unlock()
	h.Use()
	if fd, err := h.Detach(); fd != 99 || err != nil || o.released != 1 {
		t.Errorf("Detach = %d, %v, released %d times", fd, err, o.released)
	}
	h.Done()
	if _, err := h.Detach(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Detach: %v", err)
	}
}

func TestClosedOnceUnderConcurrency(t *testing.T) {
	for range 200 {
		var closed atomic.Int32
		var h Handle
		h.InitForeign(99, Foreign, func(sys.FD) { closed.Add(1) })
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					if _, ok := h.Use(); !ok {
						return
					}
					if closed.Load() != 0 {
						t.Error("in use after it was closed")
					}
					h.Done()
				}
			})
		}
		wg.Go(func() { h.Close() })
		wg.Wait()
		if n := closed.Load(); n != 1 {
			t.Fatalf("closed %d times", n)
		}
	}
}

// Q9: one queue at a time may have a handle.
func TestQ9Ownership(t *testing.T) {
	mine, other, ended := &owner{}, &owner{}, &owner{ended: true}
	for _, c := range []struct {
		what                string
		r                   Registration
		wantFree, wantOwned error
	}{
		{"no owner", Registration{}, nil, ErrNotRegistered},
		{"this owner", Registration{Owner: mine}, ErrRegistered, nil},
		{"another owner", Registration{Owner: other}, ErrOtherPoll, ErrOtherPoll},
		{"another owner that has ended", Registration{Owner: ended}, nil, ErrOtherPoll},
	} {
		if err := c.r.CheckFree(mine); err != c.wantFree {
			t.Errorf("%s: CheckFree: %v, want %v", c.what, err, c.wantFree)
		}
		if err := c.r.CheckOwned(mine); err != c.wantOwned {
			t.Errorf("%s: CheckOwned: %v, want %v", c.what, err, c.wantOwned)
		}
	}
}
