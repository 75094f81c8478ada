package queue

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// fakeSelector returns the events of wait and the configured errors.
type fakeSelector struct {
	selector.Selector // nil: methods that are not overridden panic

	mu       sync.Mutex
	keys     []selector.Key
	addErr   error
	modErr   error
	wait     func(events []selector.Event) (int, error)
	closes   int
	notifies int

	notifyErr error
}

func (f *fakeSelector) Add(_ sys.FD, key selector.Key, _ selector.Interest, _ selector.Trigger) error {
	f.keys = append(f.keys, key)
	return f.addErr
}

func (f *fakeSelector) Modify(_ sys.FD, _, key selector.Key, _ selector.Interest, _ selector.Trigger) error {
	f.keys = append(f.keys, key)
	return f.modErr
}

func (f *fakeSelector) Delete(sys.FD, selector.Key) error { return nil }
func (f *fakeSelector) NeedsRearm() bool                  { return false }
func (f *fakeSelector) WritableIsFree() bool              { return false }
func (f *fakeSelector) Notify() error                     { f.notifies++; return f.notifyErr }
func (f *fakeSelector) NotifyAll() error                  { return nil }

func (f *fakeSelector) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closes++
	return nil
}

func (f *fakeSelector) Wait(events []selector.Event, _ time.Duration) (int, error) {
	return f.wait(events)
}

func newFakeSource(fd int) *handle.Handle {
	h := &handle.Handle{}
	h.Init(sys.FD(fd), handle.Foreign)
	return h
}

// Q4: events that the kernel returned before the registration ended, and that Wait has
// not returned yet, are dropped.
func TestQ4BatchFilledBeforeDeregister(t *testing.T) {
	f := &fakeSelector{}
	q := New("fake", f)
	a, b, c := newFakeSource(1001), newFakeSource(1002), newFakeSource(1003)
	for i, src := range []*handle.Handle{a, b, c} {
		if err := q.Register(src, uint64(i), selector.Readable, selector.Edge); err != nil {
			t.Fatal(err)
		}
	}
	batch := append([]selector.Key(nil), f.keys...)
	f.wait = func(events []selector.Event) (int, error) {
		for i, key := range batch {
			events[i] = selector.Event{Key: key, Flags: selector.ReadableFlag}
		}
		// Change the registrations before Wait resolves the batch.
		if err := q.Deregister(b); err != nil {
			t.Error(err)
		}
		if err := q.Reregister(c, 22, selector.Writable, selector.Edge); err != nil {
			t.Error(err)
		}
		// The new registration reuses b's slot.
		if err := q.Register(b, 33, selector.Readable, selector.Edge); err != nil {
			t.Error(err)
		}
		return len(batch), nil
	}
	events := make([]Event, 8)
	n, err := q.Wait(events, Forever)
	if n != 1 || err != nil || events[0].Token != 0 {
		t.Fatalf("Wait = %v, %v, want token 0 alone", events[:n], err)
	}
}

func TestWaitMasksReadinessWithoutInterest(t *testing.T) {
	f := &fakeSelector{}
	q := New("fake", f)
	if err := q.Register(newFakeSource(1001), 1, selector.Writable, selector.Edge); err != nil {
		t.Fatal(err)
	}
	rounds := 0
	f.wait = func(events []selector.Event) (int, error) {
		rounds++
		flags := selector.ReadableFlag
		if rounds == 3 {
			flags |= selector.Failed | selector.WritableFlag
		}
		events[0] = selector.Event{Key: f.keys[0], Flags: flags}
		return 1, nil
	}
	events := make([]Event, 8)
	n, err := q.Wait(events, Forever)
	if n != 1 || err != nil || rounds != 3 {
		t.Fatalf("Wait = %v, %v after %d rounds, want one event in the third", events[:n], err, rounds)
	}
	if ev := events[0]; ev.Readable() || !ev.Writable() || !ev.Failed() {
		t.Errorf("%v, want Writable and Failed", ev)
	}
}

func TestKernelErrorsKeepTheirNumber(t *testing.T) {
	f := &fakeSelector{addErr: fmt.Errorf("epoll_ctl: %w", syscall.ENOSPC)}
	q := New("fake", f)
	err := q.Register(newFakeSource(1001), 1, selector.Readable, selector.Edge)
	if !errors.Is(err, syscall.ENOSPC) || q.Len() != 0 {
		t.Errorf("Register: %v with %d registrations, want ENOSPC and none", err, q.Len())
	}
	f.wait = func([]selector.Event) (int, error) { return 0, syscall.EBADF }
	if _, err := q.Wait(make([]Event, 1), Forever); !errors.Is(err, syscall.EBADF) {
		t.Errorf("Wait: %v, want EBADF", err)
	}
	if !strings.Contains(err.Error(), "register descriptor (descriptor 1001)") {
		t.Errorf("%q does not name the operation and the source", err)
	}
}

// If the kernel fails to change a registration, it is ended, not left without events.
func TestFailedReregisterEndsTheRegistration(t *testing.T) {
	f := &fakeSelector{modErr: syscall.ENOENT}
	q := New("fake", f)
	src := newFakeSource(1001)
	if err := q.Register(src, 1, selector.Readable, selector.Edge); err != nil {
		t.Fatal(err)
	}
	if err := q.Reregister(src, 2, selector.Readable, selector.Edge); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("Reregister: %v, want ENOENT", err)
	}
	if err := q.Deregister(src); !errors.Is(err, ErrNotRegistered) || q.Len() != 0 {
		t.Errorf("Deregister: %v with %d registrations, want ErrNotRegistered and none", err, q.Len())
	}
}

// Wakes that a Wait has taken are delivered, even if the kernel then fails.
func TestWakesSurviveAKernelError(t *testing.T) {
	f := &fakeSelector{wait: func([]selector.Event) (int, error) { return 0, syscall.EBADF }}
	q := New("fake", f)
	w, err := q.NewWaker(5)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Wake(); err != nil {
		t.Fatal(err)
	}
	events := make([]Event, 4)
	if n, err := q.Wait(events, Forever); n != 1 || err != nil || events[0].Token != 5 {
		t.Errorf("Wait = %v, %v, want the wake", events[:n], err)
	}
	if _, err := q.Wait(events, Forever); !errors.Is(err, syscall.EBADF) {
		t.Errorf("the next Wait: %v, want EBADF", err)
	}
}

// If Notify fails, the wake stays pending, and the next Wake of any waker notifies again;
// after that, wakes coalesce.
func TestQ7FailedWakeIsTriedAgain(t *testing.T) {
	f := &fakeSelector{wait: func([]selector.Event) (int, error) { return 0, nil }}
	q := New("fake", f)
	defer q.Close()
	w, _ := q.NewWaker(1)
	other, _ := q.NewWaker(2)
	f.notifyErr = syscall.ENOBUFS
	for i := range 2 {
		if err := w.Wake(); !errors.Is(err, syscall.ENOBUFS) || f.notifies != i+1 {
			t.Fatalf("Wake %d: %v after %d calls of Notify, want ENOBUFS after %d", i+1, err, f.notifies, i+1)
		}
	}
	f.notifyErr = nil
	for range 3 {
		if err := w.Wake(); err != nil || f.notifies != 3 {
			t.Fatalf("Wake: %v after %d calls of Notify, want 3", err, f.notifies)
		}
	}
	f.notifyErr = syscall.ENOBUFS
	other.Wake()
	f.notifyErr = nil
	if err := w.Wake(); err != nil || f.notifies != 5 {
		t.Errorf("Wake after another's failed: %v after %d calls of Notify, want 5", err, f.notifies)
	}
	events := make([]Event, 8)
	if n, err := q.Wait(events, 0); n != 2 || err != nil {
		t.Errorf("Wait = %v, %v; want both wakes", events[:n], err)
	}
}

// Q5: the kernel object is released by its last user, once.
func TestQ5LastUserReleases(t *testing.T) {
	f := &fakeSelector{}
	q := New("fake", f)
	inside, resume := make(chan struct{}), make(chan struct{})
	f.wait = func([]selector.Event) (int, error) {
		close(inside)
		<-resume
		return 0, nil
	}
	ended := make(chan error)
	go func() {
		_, err := q.Wait(make([]Event, 1), Forever)
		ended <- err
	}()
	<-inside
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	if f.closes != 0 {
		t.Error("the kernel object was released under a waiter")
	}
	f.mu.Unlock()
	close(resume)
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("Wait: %v, want ErrClosed", err)
	}
	if f.closes != 1 {
		t.Errorf("the kernel object was released %d times, want once", f.closes)
	}
}

func TestWaitHandsOutAtMost512(t *testing.T) {
	q := New("fake", &fakeSelector{wait: func([]selector.Event) (int, error) { return 0, nil }})
	defer q.Close()
	for i := range 2000 {
		w, err := q.NewWaker(uint64(i))
		if err == nil {
			err = w.Wake()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	events, all := make([]Event, 4000), 0
	for all < 2000 {
		n, err := q.Wait(events, 0)
		if n == 0 || n > 512 || err != nil {
			t.Fatalf("%d, %v after %d", n, err, all)
		}
		all += n
	}
}

// After Close, every concurrent Wake returns ErrClosed.
func TestWakeAfterClose(t *testing.T) {
	q := New("fake", &fakeSelector{})
	defer q.Close()
	for range 5000 {
		w, err := q.NewWaker(1)
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 10 {
					if err := w.Wake(); !errors.Is(err, ErrClosed) {
						t.Errorf("Wake after Close: %v", err)
					}
				}
			})
		}
		all.Wait()
	}
}
