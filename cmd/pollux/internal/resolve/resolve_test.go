package resolve

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

// posts is the loop of a test, which runs the posted functions one at a time.
type posts chan func()

func (p posts) post(f func()) { p <- f }

// A name is looked up once for all calls that wait for it, and at most MaxLookups look-ups
// run at the same time.
func TestResolve(t *testing.T) {
	testkit.CheckLeaks(t)
	p := make(posts, 100)
	began, release := make(chan string, 100), make(chan struct{})
	one := netip.MustParseAddr("192.0.2.1")
	r := New(p.post, func(_ context.Context, host string) ([]netip.Addr, error) {
		began <- host
		<-release
		return []netip.Addr{netip.AddrFrom16(one.As16())}, nil
	}, time.Minute)
	defer r.Close()

	answers := 0
	done := func(addrs []netip.Addr, err error) {
		if answers++; err != nil || !slices.Equal(addrs, []netip.Addr{one}) {
			t.Errorf("done(%v, %v), want %v", addrs, err, one)
		}
	}
	const names = MaxLookups + 3
	for range 10 {
		for i := range names {
			r.Resolve("host"+string(rune('a'+i)), done)
		}
	}
	for range MaxLookups {
		<-began
	}
	if r.running != MaxLookups || len(r.queue) != names-MaxLookups || len(began) != 0 {
		t.Errorf("%d look-ups are running, %d wait", r.running, len(r.queue))
	}
	close(release)
	for range names {
		(<-p)()
	}
	if answers != 10*names {
		t.Errorf("%d answers, want %d", answers, 10*names)
	}
	r.Resolve("hosta", done) // cached
	if answers != 10*names+1 {
		t.Error("a cached name was not answered immediately")
	}
	r.Forget("hosta")
	r.Resolve("hosta", done)
	(<-p)()
	if answers != 10*names+2 {
		t.Error("a forgotten name was not looked up")
	}
}

// localhost and the names below it have both loopback addresses, after those that the
// system returns; other names do not.
func TestLocalhost(t *testing.T) {
	v4, v6, other := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.7")
	mapped := netip.MustParseAddr("::ffff:127.0.0.1")
	for _, c := range []struct{ system, want []netip.Addr }{
		{nil, []netip.Addr{v4, v6}},
		{[]netip.Addr{v4}, []netip.Addr{v4, v6}},
		{[]netip.Addr{v6}, []netip.Addr{v6, v4}},
		{[]netip.Addr{mapped, v6}, []netip.Addr{mapped, v6}},
		{[]netip.Addr{other}, []netip.Addr{other, v4, v6}},
	} {
		if got := withLoopback(c.system); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.system, got, c.want)
		}
	}
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost.": true, "a.localhost": true, "localhost.test": false, "notlocalhost": false, "": false,
	} {
		if isLocalhost(host) != want {
			t.Errorf("isLocalhost(%q) = %v", host, !want)
		}
	}
	addrs, err := System(t.Context(), "localhost")
	if err != nil || !slices.Contains(addrs, v6) {
		t.Errorf("localhost: %v, %v", addrs, err)
	}
}

// Literal addresses need no look-up; Close cancels pending look-ups.
func TestLiteralAndClose(t *testing.T) {
	testkit.CheckLeaks(t)
	p := make(posts, 1)
	r := New(p.post, func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, time.Minute)
	for text, want := range map[string]string{"127.0.0.1": "127.0.0.1", "::1": "::1", "::ffff:192.0.2.1": "192.0.2.1"} {
		r.Resolve(text, func(addrs []netip.Addr, err error) {
			if err != nil || len(addrs) != 1 || addrs[0] != netip.MustParseAddr(want) {
				t.Errorf("%s: %v, %v", text, addrs, err)
			}
		})
	}
	var got error
	r.Resolve("slow.test", func(_ []netip.Addr, err error) { got = err })
	r.Close()
	(<-p)()
	if !errors.Is(got, context.Canceled) {
		t.Errorf("the cancelled look-up returned %v, want %v", got, context.Canceled)
	}
}

// A timeout of zero is no limit.
func TestNoTimeout(t *testing.T) {
	testkit.CheckLeaks(t)
	p := make(posts, 1)
	one := netip.MustParseAddr("192.0.2.1")
	r := New(p.post, func(ctx context.Context, _ string) ([]netip.Addr, error) {
		if _, limited := ctx.Deadline(); limited || ctx.Err() != nil {
			return nil, context.DeadlineExceeded
		}
		return []netip.Addr{one}, nil
	}, 0)
	defer r.Close()
	var got error
	r.Resolve("host.test", func(_ []netip.Addr, err error) { got = err })
	(<-p)()
	if got != nil {
		t.Error(got)
	}
}
