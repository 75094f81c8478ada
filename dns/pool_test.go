package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

// The pool resolves what the strategy or the configuration leaves to the system.
func TestPool(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onResolver(t, Config{Strategy: Pool, PoolWorkers: 2, PoolQueue: 1}, files{hosts: testHosts}, func(r *testResolver) {
		var running atomic.Int32
		r.lookupHost = func(ctx context.Context, name string) ([]netip.Addr, error) {
			running.Add(1)
			if strings.HasPrefix(name, "slow") {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.5"), netip.MustParseAddr("2001:db8::5")}, nil
		}
		r.wantAnswer("printer", r.poolPath, "192.0.2.5", "2001:db8::5")
		a, err := r.LookupType(r.T.Context(), "printer", TypeA)
		if err != nil || len(a.Addrs) != 1 || !a.Addrs[0].Is4() {
			t.Errorf("%+v, %v", a, err)
		}
		results := make(chan error, 4)
		var all []*Lookup
		for i := range 4 {
			all = append(all, r.LookupFunc(r.Loop, fmt.Sprint("slow", i), func(_ Answer, err error) { results <- err }))
		}
		if err := <-results; !errors.Is(err, ErrBusy) {
			t.Errorf("%v, want ErrBusy for the one that exceeds workers and queue", err)
		}
		for _, lk := range all {
			lk.Cancel()
		}
		for range 3 {
			if err := <-results; !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want context.Canceled", err)
			}
		}
		if s.Queries[0] != 0 {
			t.Errorf("%d queries", s.Queries[0])
		}
	}, s)
}
