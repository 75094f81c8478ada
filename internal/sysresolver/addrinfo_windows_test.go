package sysresolver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
)

// fakeCalls are the calls of a system whose requests complete when the test wants it.
type fakeCalls struct {
	id     uintptr
	system *fakeSystem

	// Accessed by the user of the request.
	name     string
	canceled atomic.Int32
	taken    int // Take since Start
}

type fakeSystem struct {
	*addrInfos
	start   func(*fakeCalls) (pending bool, e syscall.Errno)
	started chan *fakeCalls
}

func (c *fakeCalls) Prepare(name string) syscall.Errno {
	c.name = name
	if strings.Contains(name, "\x00") {
		return sys.WSAHOST_NOT_FOUND
	}
	return 0
}

func (c *fakeCalls) Start(uintptr) (bool, syscall.Errno) {
	c.taken = 0
	if c.system.start != nil {
		return c.system.start(c)
	}
	c.system.started <- c
	return true, 0
}

func (c *fakeCalls) Cancel() { c.canceled.Add(1) }

// Take returns an address that tells the name.
func (c *fakeCalls) Take() []netip.Addr {
	c.taken++
	a, _ := netip.ParseAddr(c.name)
	if !a.IsValid() {
		return nil
	}
	return []netip.Addr{a}
}

func (c *fakeCalls) ID() uintptr { return c.id }

// newFakeSystem returns a system with n requests, all of which must be free at the end of the test.
func newFakeSystem(t *testing.T, n int) *fakeSystem {
	f := &fakeSystem{started: make(chan *fakeCalls, n)}
	id := uintptr(0)
	f.addrInfos = newAddrInfos(make([]addrInfo, n), func(*addrInfo) addrInfoCalls {
		id++
		return &fakeCalls{id: id, system: f}
	})
	f.completion = func() uintptr { return 0 }
	t.Cleanup(func() { wantFree(t, f.addrInfos, n) })
	return f
}

// wantFree checks that n requests are free in the end, and that none has a result.
func wantFree(t *testing.T, s *addrInfos, n int) {
	t.Helper()
	if !testkit.Eventually(func() bool { return len(s.free) == n }) {
		t.Fatalf("%d requests are free, want %d", len(s.free), n)
	}
	for _, q := range s.byID {
		if len(q.ended) != 0 || q.users.Load() != 0 {
			t.Errorf("a request that is free has %d results and %d users", len(q.ended), q.users.Load())
		}
	}
}

// A lookup that is canceled returns at once; its memory is used again after the completion, and not before.
func TestAddrInfoCancel(t *testing.T) {
	f := newFakeSystem(t, 1)
	cause := errors.New("cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	results := make(chan error, 1)
	go func() {
		_, err := f.lookup(ctx, "192.0.2.1")
		results <- err
	}()
	c := <-f.started
	cancel(cause)
	if err := <-results; err != cause || c.canceled.Load() != 1 {
		t.Errorf("%v, canceled %d times", err, c.canceled.Load())
	}
	if len(f.free) != 0 {
		t.Fatal("a request in flight is free")
	}
	expired, end := context.WithCancel(t.Context())
	end()
	if _, err := f.lookup(expired, "192.0.2.2"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled of a lookup that waits for a request", err)
	}
	go func() {
		addrs, err := f.lookup(t.Context(), "192.0.2.3")
		results <- errors.Join(err, wantAddrs(addrs, "192.0.2.3"))
	}()
	f.complete(c.id, sys.WSA_E_CANCELLED)
	f.complete((<-f.started).id, 0)
	if err := <-results; err != nil {
		t.Errorf("the lookup after it: %v", err)
	}
}

func wantAddrs(addrs []netip.Addr, want ...string) error {
	if got := fmt.Sprint(addrs); got != fmt.Sprint(want) {
		return fmt.Errorf("%v, want %v", got, want)
	}
	return nil
}

// Completions and cancellations at the same time lose no request, and no lookup gets another one's addresses.
func TestAddrInfoRaces(t *testing.T) {
	const lookups, rounds = 40, 50
	f := newFakeSystem(t, 10)
	var all, completions sync.WaitGroup
	completions.Go(func() {
		for c := range f.started {
			completions.Go(func() {
				yieldAtRandom()
				f.complete(c.id, 0)
			})
		}
	})
	var canceled, answered atomic.Int32
	for i := range lookups {
		name := fmt.Sprintf("192.0.2.%d", i)
		all.Go(func() {
			for range rounds {
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					yieldAtRandom()
					cancel()
				}()
				addrs, err := f.lookup(ctx, name)
				switch {
				case errors.Is(err, context.Canceled):
					canceled.Add(1)
				case err != nil || wantAddrs(addrs, name) != nil:
					t.Errorf("%s: %v, %v", name, addrs, err)
				default:
					answered.Add(1)
				}
				cancel()
			}
		})
	}
	all.Wait()
	close(f.started)
	completions.Wait()
	t.Log(canceled.Load(), "canceled,", answered.Load(), "answered")
}

func yieldAtRandom() {
	for range rand.IntN(4) {
		runtime.Gosched()
	}
}

// Errors are those of package net, whether a request ends at once or later, and have the name.
func TestAddrInfoErrors(t *testing.T) {
	for _, pending := range []bool{false, true} {
		for e, want := range map[syscall.Errno]net.DNSError{
			sys.WSAHOST_NOT_FOUND: {IsNotFound: true},
			sys.WSATRY_AGAIN:      {IsTemporary: true},
			sys.WSA_E_CANCELLED:   {IsTemporary: true},
			sys.WSAECANCELLED:     {IsTemporary: true},
			syscall.ENOMEM:        {},
		} {
			f := newFakeSystem(t, 1)
			starts, taken := 0, 0
			f.start = func(c *fakeCalls) (bool, syscall.Errno) {
				starts++
				if pending {
					f.complete(c.id, e)
					return true, 0
				}
				return false, e
			}
			_, err := f.lookup(t.Context(), "a.example")
			taken = f.byID[1].calls.(*fakeCalls).taken
			got, ok := errors.AsType[*net.DNSError](err)
			if !ok || got.IsNotFound != want.IsNotFound || got.IsTemporary != want.IsTemporary || got.Name != "a.example" || !errors.Is(err, e) {
				t.Errorf("%v: %#v", e, err)
			}
			if times := map[bool]int{true: addrInfoAttempts, false: 1}[want.IsTemporary]; starts != times || taken != 1 {
				t.Errorf("%v: started %d times, want %d; taken %d times", e, starts, times, taken)
			}
		}
	}
}

// A name without addresses is distinguished from one that does not exist.
func TestAddrInfoNoData(t *testing.T) {
	for _, e := range []syscall.Errno{0, sys.WSANO_DATA} {
		f := newFakeSystem(t, 1)
		f.start = func(*fakeCalls) (bool, syscall.Errno) { return false, e }
		if _, err := f.lookup(t.Context(), "a.example"); !errors.Is(err, ErrNoData) || !strings.Contains(err.Error(), "a.example") {
			t.Errorf("%v: %v, want ErrNoData", e, err)
		}
	}
}

// A second try answers after one that the system could not answer.
func TestAddrInfoTriesAgain(t *testing.T) {
	f := newFakeSystem(t, 1)
	starts := 0
	f.start = func(*fakeCalls) (bool, syscall.Errno) {
		if starts++; starts == 1 {
			return false, sys.WSATRY_AGAIN
		}
		return false, 0
	}
	addrs, err := f.lookup(t.Context(), "192.0.2.1")
	if err != nil || wantAddrs(addrs, "192.0.2.1") != nil || starts != 2 {
		t.Errorf("%v, %v after %d requests", addrs, err, starts)
	}
}

// The system is not asked for names that are none; the empty one would mean this computer.
func TestAddrInfoBadNames(t *testing.T) {
	f := newFakeSystem(t, 1)
	f.start = func(*fakeCalls) (bool, syscall.Errno) { t.Error("started"); return false, 0 }
	for _, s := range []*addrInfos{f.addrInfos, systemAddrInfos} {
		for _, name := range []string{"", "a\x00b"} {
			if _, err := s.lookup(t.Context(), name); !isNotFound(err) {
				t.Errorf("%q: %v, want not found", name, err)
			}
		}
	}
}

func isNotFound(err error) bool {
	e, ok := errors.AsType[*net.DNSError](err)
	return ok && e.IsNotFound
}

// A completion of no request in flight is an error of the system that must not go unnoticed: memory that another
// request uses may have been overwritten.
func TestAddrInfoUnknownCompletion(t *testing.T) {
	f := newFakeSystem(t, 1)
	for _, id := range []uintptr{1, 2} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("the completion of request %d does not panic", id)
				}
			}()
			f.complete(id, 0)
		}()
	}
}

// maxLabel is the maximum length of a label in a name (RFC 1035, section 2.3.4).
const maxLabel = 63

// The system resolves its own names, and reports those that it does not have, many at a time.
func TestAddrInfoSystem(t *testing.T) {
	testkit.CheckLeaks(t)
	defer wantFree(t, systemAddrInfos, maxAddrInfos)
	if _, ok := System(); !ok {
		t.Fatal("System does not use GetAddrInfoExW, which this system has")
	}
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			if i%2 == 0 {
				addrs, err := systemAddrInfos.lookup(t.Context(), "localhost")
				if err != nil || !addrs[0].IsLoopback() {
					t.Errorf("localhost: %v, %v", addrs, err)
				}
				return
			}
			name := fmt.Sprint(strings.Repeat("n", maxLabel+1), i) // no server is asked for that
			if addrs, err := systemAddrInfos.lookup(t.Context(), name); !isNotFound(err) {
				t.Errorf("%s: %v, %v", name, addrs, err)
			}
		})
	}
	all.Wait()
}

// Canceling a request of the system returns at once, and its completion comes: without a network, once no server
// has answered.
func TestAddrInfoSystemCancel(t *testing.T) {
	defer wantFree(t, systemAddrInfos, maxAddrInfos)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			go cancel()
			_, err := systemAddrInfos.lookup(ctx, fmt.Sprintf("c%d.invalid", i))
			if err == nil {
				t.Error("a name under .invalid has addresses")
			}
		})
	}
	all.Wait()
}

// A lookup in a bubble of testing/synctest, whose completion comes from outside, ends as elsewhere.
func TestAddrInfoBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		addrs, err := systemAddrInfos.lookup(t.Context(), "localhost")
		if err != nil || !addrs[0].IsLoopback() {
			t.Errorf("localhost: %v, %v", addrs, err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("the bubble's clock has advanced by %v: it did not wait for the system", d)
		}
	})
}
