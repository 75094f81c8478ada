package dns

import (
	"errors"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

// An answer of a server is used while its TTL lasts, and not longer.
func TestCache(t *testing.T) {
	z := zone{"www.example.com.": {exchangetest.TrueAddr, "2001:db8::1"}}
	s := &exchangetest.Server{UDP: z.udp}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		evented := Path("evented 10.0.1.0:53 udp")
		a := r.wantAnswer("www.example.com", evented, exchangetest.TrueAddr, "2001:db8::1")
		if a.TTL != time.Minute || len(a.Records) != 2 || a.Canonical != "www.example.com." {
			t.Errorf("%+v", a)
		}
		time.Sleep(20 * time.Second)
		for _, name := range []string{"www.example.com", "WWW.example.com", "www.example.com."} {
			if a := r.wantAnswer(name, PathCache, exchangetest.TrueAddr, "2001:db8::1"); a.TTL > 40*time.Second {
				t.Errorf("%s has TTL %v after 20 s of a minute", name, a.TTL)
			}
		}
		if s.Queries[0] != 2 {
			t.Errorf("%d queries, want one for each type", s.Queries[0])
		}
		time.Sleep(41 * time.Second)
		r.wantAnswer("www.example.com", evented, exchangetest.TrueAddr, "2001:db8::1")
		r.Flush()
		r.wantAnswer("www.example.com", evented, exchangetest.TrueAddr, "2001:db8::1")
	}, s)
}

// What a caller appends to an answer is not in that of another one.
func TestCacheAppend(t *testing.T) {
	z := zone{"a.": {exchangetest.TrueAddr, "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"}}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		r.wantAnswer("a.", evented, z["a."]...)
		a := r.wantAnswer("a.", PathCache, z["a."]...)
		if cap(a.Addrs) != len(a.Addrs) || cap(a.Records) != len(a.Records) {
			t.Errorf("%d addresses with space for %d, %d records with space for %d", len(a.Addrs), cap(a.Addrs), len(a.Records), cap(a.Records))
		}
	}, &exchangetest.Server{UDP: z.udp})
}

// What does not exist is distinguished from what has no addresses, and both are cached.
func TestNotFound(t *testing.T) {
	s := &exchangetest.Server{UDP: zone{"exists.": nil}.udp}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		for range 2 {
			for name, want := range map[string]error{"exists.": ErrNoData, "missing.": ErrNoName} {
				_, err := r.Lookup(r.T.Context(), name)
				e, ok := errors.AsType[*Error](err)
				if !ok || !errors.Is(err, want) || !errors.Is(err, ErrNotFound) || e.Path == "" || e.Timeout() || e.Temporary() {
					t.Errorf("%s: %v, want %v", name, err, want)
				}
			}
		}
		if s.Queries[0] != 4 {
			t.Errorf("%d queries, want 4", s.Queries[0])
		}
		time.Sleep(31 * time.Second)
		r.Lookup(r.T.Context(), "missing.")
		if s.Queries[0] != 6 {
			t.Errorf("%d queries after the negative TTL, want 6", s.Queries[0])
		}
	}, s)
}

// That a name does not exist is cached for the shortest negative TTL of both types, each of which is the lesser of the TTL
// and the minimum of its SOA record (RFC 2308, section 5).
func TestNegativeTTLs(t *testing.T) {
	asked := map[Type]int{}
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		_, typ := questionOf(q)
		asked[typ]++
		a := zone{}.answer(q) // both are 30 s
		if typ == TypeAAAA {
			a[len(a)-1] = 10 // the minimum
		}
		return []exchangetest.Message{a}
	}}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		for _, c := range []struct {
			after   time.Duration
			a, aaaa int
		}{{0, 1, 1}, {9 * time.Second, 1, 1}, {2 * time.Second, 1, 2}, {20 * time.Second, 2, 3}} {
			time.Sleep(c.after)
			if _, err := r.Lookup(r.T.Context(), "missing."); !errors.Is(err, ErrNoName) {
				t.Errorf("%v, want ErrNoName", err)
			}
			if asked[TypeA] != c.a || asked[TypeAAAA] != c.aaaa {
				t.Errorf("%v later, asked %v, want %d times for A and %d times for AAAA", c.after, asked, c.a, c.aaaa)
			}
		}
	}, s)
}

// While no server answers, an old answer is used (RFC 8767), with one refresh in 30 s.
func TestStale(t *testing.T) {
	dead := false
	z := zone{"a.": {exchangetest.TrueAddr, "2001:db8::1"}}
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		if dead {
			return nil
		}
		return z.udp(q)
	}}
	onResolver(t, Config{Timeout: time.Second, Attempts: 1}, files{}, func(r *testResolver) {
		r.wantAnswer("a.", "evented 10.0.1.0:53 udp", exchangetest.TrueAddr, "2001:db8::1")
		dead = true
		time.Sleep(2 * time.Minute)
		began := time.Now()
		if a := r.wantAnswer("a.", PathStale, exchangetest.TrueAddr, "2001:db8::1"); !a.Stale || a.TTL > 30*time.Second || len(a.Steps) != 2 || a.Steps[0].Server != s.Addr {
			t.Errorf("%+v, want a stale answer, and the attempts of both types that failed", a)
		}
		if time.Since(began) < time.Second {
			t.Error("a stale answer was used before the servers had been asked")
		}
		if r.wantAnswer("a.", PathStale, exchangetest.TrueAddr, "2001:db8::1"); s.Queries[0] != 2+2 {
			t.Errorf("%d queries", s.Queries[0])
		}
		dead = false
		time.Sleep(31 * time.Second)
		if a := r.wantAnswer("a.", "evented 10.0.1.0:53 udp", exchangetest.TrueAddr, "2001:db8::1"); a.Stale {
			t.Errorf("%+v", a)
		}
	}, s)
}
