package dns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/loop"
)

// Lookups of one name have one query, and each can be canceled alone.
func TestShared(t *testing.T) {
	z := zone{"a.": {exchangetest.TrueAddr}}
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message { time.Sleep(time.Second); return z.udp(q) }}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		const lookups = 100
		results := make(chan error, 2*lookups)
		var all []*Lookup
		for range lookups {
			all = append(all, r.LookupFunc(r.Loop, "a.", func(_ Answer, err error) { results <- err }))
		}
		time.Sleep(time.Millisecond)
		for _, lk := range all[:lookups/2] { // the first is the one that has started the query
			lk.Cancel()
			lk.Cancel()
		}
		time.Sleep(time.Minute)
		canceled := 0
		for range lookups {
			switch err := <-results; {
			case errors.Is(err, context.Canceled):
				canceled++
			case err != nil:
				t.Error(err)
			}
		}
		if canceled != lookups/2 || len(results) != 0 || s.Queries[0] != 2 {
			t.Errorf("%d canceled, %d too many calls, %d queries", canceled, len(results), s.Queries[0])
		}
	}, s)
}

// When the last lookup leaves, its query ends.
func TestAllCanceled(t *testing.T) {
	s := &exchangetest.Server{UDP: func([]byte) []exchangetest.Message { return nil }}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		ctx, cancel := context.WithTimeout(r.T.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := r.Lookup(ctx, "a.")
		if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, context.DeadlineExceeded) || !e.Timeout() || time.Since(began) > time.Second+time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(time.Minute)
		if flights, waiters := r.flights.InFlight(); flights+waiters+r.Client.Descriptors() != 0 || s.Queries[0] != 2 {
			t.Errorf("%d flights, %d waiters, %d descriptors, %d queries", flights, waiters, r.Client.Descriptors(), s.Queries[0])
		}
		if _, err := r.Lookup(ctx, "192.0.2.1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v with a context that has ended", err)
		}
	}, s)
}

// A thousand lookups of one name, on loops of several groups and in goroutines, have one query.
func TestSharedByLoops(t *testing.T) {
	s := &exchangetest.Server{UDP: slowly(exchangetest.Honest)}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		const lookups = 1000
		loops := append(r.Client.NewGroup(loop.Config{Loops: 3}).Loops(), r.Loop)
		results := make(chan error, 2*lookups)
		var canceled []*Lookup
		for i := range lookups {
			switch {
			case i%10 == 0:
				go func() { _, err := r.LookupType(r.T.Context(), "a.", TypeA); results <- err }()
			default:
				lk := r.LookupTypeFunc(loops[i%len(loops)], "A.", TypeA, func(_ Answer, err error) { results <- err })
				if i%10 == 1 {
					canceled = append(canceled, lk)
				}
			}
		}
		time.Sleep(time.Second / 2)
		if st := r.Stats(); st.InFlight != 1 || st.Waiting != lookups || st.Shared != lookups-1 {
			t.Errorf("%+v, want one query for all", st)
		}
		for _, lk := range canceled {
			lk.Cancel()
			lk.Cancel()
		}
		time.Sleep(time.Minute)
		errs := 0
		for range lookups {
			if err := <-results; err != nil {
				errs++
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		}
		if failed := r.Stats().Failed; failed != uint64(errs) {
			t.Errorf("%d lookups count as failed, want %d: the second Cancel has no effect", failed, errs)
		}
		if errs != len(canceled) || len(results) != 0 || s.Queries[0] != 1 {
			t.Errorf("%d errors, want %d; %d too many calls, %d queries", errs, len(canceled), len(results), s.Queries[0])
		}
	}, s)
}

// A done function may panic, cancel its own lookup and others, and begin new ones; the other lookups of its query
// get their results.
func TestDoneFunctions(t *testing.T) {
	s := &exchangetest.Server{UDP: slowly(exchangetest.Honest)}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		l := r.Client.NewGroup(loop.Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}).Loops()[0]
		results := make(chan string, 10)
		report := func(what string) func(Answer, error) {
			return func(_ Answer, err error) { results <- fmt.Sprint(what, " ", err != nil) }
		}
		r.LookupTypeFunc(l, "a.", TypeA, func(Answer, error) { results <- "panics"; panic("by a test") })
		var own, other *Lookup
		started := make(chan bool)
		l.Run(func() {
			own = r.LookupTypeFunc(l, "a.", TypeA, func(Answer, error) {
				own.Cancel()
				other.Cancel()
				r.LookupTypeFunc(l, "b.", TypeA, report("began in done"))
				results <- "cancels"
			})
			other = r.LookupFunc(l, "c.", report("was canceled"))
			close(started)
		})
		<-started
		r.LookupTypeFunc(l, "a.", TypeA, report("shares"))
		time.Sleep(time.Minute)
		got := map[string]int{}
		for len(results) > 0 {
			got[<-results]++
		}
		for _, want := range []string{"panics", "cancels", "shares false", "began in done false", "was canceled true"} {
			if got[want] != 1 {
				t.Errorf("%q %d times, want once; all: %v", want, got[want], got)
			}
		}
	}, s)
}

// A lookup by the pool whose context has ended leaves, and the function of the pool ends as well.
func TestPoolCanceled(t *testing.T) {
	onResolver(t, Config{Strategy: Pool}, files{}, func(r *testResolver) {
		r.lookupHost = func(ctx context.Context, name string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		ctx, cancel := context.WithTimeout(r.T.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := r.Lookup(ctx, "slow"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Second+time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(time.Second)
		if st := r.Stats(); st.InFlight+st.Waiting+st.PoolRunning+st.PoolQueued != 0 || st.Failed != 1 {
			t.Errorf("%+v", st)
		}
		if _, err := r.Lookup(ctx, "slow"); !errors.Is(err, context.DeadlineExceeded) || r.Stats().Failed != 2 {
			t.Errorf("%v with a context that has ended; %+v", err, r.Stats())
		}
	}, &exchangetest.Server{UDP: exchangetest.Honest})
}
