package dns

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/loop"
)

// Close ends what is in progress, and nothing begins after it.
func TestClose(t *testing.T) {
	s := &exchangetest.Server{UDP: func([]byte) []exchangetest.Message { return nil }}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		results := make(chan error, 4)
		for _, name := range []string{"a.", "a.", "c."} { // two of one query
			r.LookupFunc(r.Loop, name, func(_ Answer, err error) { results <- err })
		}
		go func() {
			_, err := r.Lookup(r.T.Context(), "b.")
			results <- err
		}()
		time.Sleep(time.Second)
		r.Close()
		r.Close()
		for range cap(results) {
			if err := <-results; !errors.Is(err, ErrClosed) {
				t.Errorf("%v, want ErrClosed", err)
			}
		}
		if _, err := r.Lookup(r.T.Context(), "c."); !errors.Is(err, ErrClosed) {
			t.Errorf("%v after Close, want ErrClosed", err)
		}
	}, s)
}

// A lookup whose loop ends does not wait for it.
func TestGroupEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := must(loop.NewGroup(loop.Config{Loops: 1}))
		var c Config
		files{}.write(t, &c)
		c.Group = g
		r := must(New(c))
		defer r.Close()
		if err := g.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Lookup(t.Context(), "a."); !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	})
}

// Close ends lookups of the pool, whose functions it waits for.
func TestClosePool(t *testing.T) {
	onResolver(t, Config{Strategy: Pool}, files{}, func(r *testResolver) {
		r.lookupHost = func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		results := make(chan error, 1)
		r.LookupFunc(r.Loop, "a.", func(_ Answer, err error) { results <- err })
		time.Sleep(time.Second)
		r.Close()
		if err := <-results; !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	}, &exchangetest.Server{UDP: exchangetest.Honest})
}
