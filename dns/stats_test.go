package dns

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

// Each lookup counts once, by where its answer came from, or by its error.
func TestStats(t *testing.T) {
	dead := false
	z := zone{"a.": {exchangetest.TrueAddr, "2001:db8::1"}, "c.": {exchangetest.TrueAddr}}
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		if dead {
			return nil
		}
		return append(z.udp(q), z.udp(q)...) // the second one is dropped
	}}
	onResolver(t, Config{Timeout: time.Second, Attempts: 2}, files{hosts: testHosts}, func(r *testResolver) {
		var want Stats
		for _, c := range []struct {
			name  string
			typ   Type
			count *uint64
		}{
			{"192.0.2.1", 0, &want.Literal},
			{"192.0.2.1", TypeAAAA, &want.NotFound},
			{"localhost", 0, &want.Localhost},
			{"printer", 0, &want.Hosts},
			{"printer", TypeAAAA, &want.Hosts},
			{"a.", 0, &want.Evented},
			{"a.", 0, &want.Cached},
			{"A.", 0, &want.Cached},
			{"a.", TypeA, &want.Cached}, // by its part
			{"gone.", 0, &want.NotFound},
			{"gone.", 0, &want.NotFound},
			{"GONE.", 0, &want.NotFound},
			{"127.1", 0, &want.Failed},
		} {
			for _, waits := range []bool{true, false} {
				if waits {
					r.lookup(r.T.Context(), c.name, c.typ)
				} else {
					done := make(chan bool)
					r.lookupFunc(r.Loop, c.name, c.typ, func(Answer, error) { close(done) })
					<-done
				}
				switch {
				case !waits && c.count == &want.Evented:
					want.Cached++
				default:
					*c.count++
				}
			}
		}
		time.Sleep(time.Second) // for the duplicates
		want.SentUDP, want.Dropped = 4, 4
		want.Cache = CacheStats{Entries: 4 + 3, Misses: 4} // a., gone.: two parts and one whole; a. A: one whole
		want.Cache.Hits = want.Cached + want.NotFound - 2 - 1
		got := r.Stats()
		if got.Cache.Bytes == 0 {
			t.Error("no bytes in the cache")
		}
		if got.Cache.Bytes = 0; got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}

		dead = true
		time.Sleep(2 * time.Minute)
		r.LookupType(r.T.Context(), "a.", TypeA)
		r.LookupType(r.T.Context(), "silent.", TypeA)
		now := r.Stats()
		if now.Stale != 1 || now.Failed != want.Failed+1 || now.Timeouts != 4 || now.SentUDP < want.SentUDP+4 || now.SentUDP > want.SentUDP+8 || // an attempt may send once more
			now.Cache.StaleHits != 1 {
			t.Errorf("%+v, want one stale answer, one failure and four timeouts more than %+v", now, want)
		}
	}, s)
}

// Counters that are calculated from others are right while lookups go on.
func TestStatsMeanwhile(t *testing.T) {
	r := resolverWithHosts(t, "")
	r.know("gone", known{err: &Error{Name: "gone", Type: typeAddresses, Path: PathCache, Err: ErrNoName}})
	const lookups = 100_000
	done := make(chan bool)
	go func() {
		defer close(done)
		for range lookups {
			r.LookupInline("gone", typeAddresses)
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		// A lookup between its two counters shows as an answer.
		if st := r.Stats(); st.Cached > lookups {
			t.Fatalf("%d answers of the cache, after %d lookups at most", st.Cached, lookups)
		}
	}
	if st := r.Stats(); st.NotFound != lookups || st.Cached != 0 {
		t.Errorf("%+v, want %d times not found", st, lookups)
	}
}

// The counters of the pool, and that Stats may be called in a callback.
func TestStatsOfPool(t *testing.T) {
	onResolver(t, Config{Strategy: Pool, PoolWorkers: 1}, files{}, func(r *testResolver) {
		release := make(chan bool)
		r.lookupHost = func(_ context.Context, name string) ([]netip.Addr, error) {
			<-release
			if strings.HasPrefix(name, "bad") {
				return nil, errors.New("of the system")
			}
			return []netip.Addr{netip.MustParseAddr(exchangetest.TrueAddr)}, nil
		}
		results := make(chan error, 3)
		for _, name := range []string{"good", "bad", "bad2"} {
			r.LookupFunc(r.Loop, name, func(_ Answer, err error) { results <- err })
		}
		time.Sleep(time.Second)
		r.Run(func() {
			if st := r.Stats(); st.PoolRunning != 1 || st.PoolQueued != 2 || st.InFlight != 3 || st.Waiting != 3 {
				t.Errorf("%+v", st)
			}
		})
		close(release)
		for range 3 {
			<-results
		}
		time.Sleep(time.Second)
		if st := r.Stats(); st != (Stats{Pool: 1, Failed: 2}) {
			t.Errorf("%+v, want one answer of the pool and two failures", st)
		}
	}, &exchangetest.Server{UDP: exchangetest.Honest})
}
