package dns

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

// The search list applies in the order that ndots demands, until a name has an answer.
func TestSearchList(t *testing.T) {
	z := zone{"web.two.": {exchangetest.TrueAddr}, "web.x.": {exchangetest.ForgedAddr}, "c.d.": {exchangetest.TrueAddr}}
	var asked []string
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		if name, typ := questionOf(q); typ == TypeA {
			asked = append(asked, name)
		}
		return z.udp(q)
	}}
	onResolver(t, Config{}, files{resolv: "search one two x\n"}, func(r *testResolver) {
		if a := r.wantAnswer("web", "evented 10.0.1.0:53 udp", exchangetest.TrueAddr); a.Canonical != "web.two." || a.TTL != 30*time.Second {
			t.Errorf("canonical name %q, TTL %v, want that of the negative answer for AAAA", a.Canonical, a.TTL)
		}
		r.wantAnswer("c.d", "evented 10.0.1.0:53 udp", exchangetest.TrueAddr)
		r.Lookup(r.T.Context(), "gone.")
		if want := []string{"web.one.", "web.two.", "c.d.", "gone."}; !slices.Equal(asked, want) {
			t.Errorf("asked for %q, want %q", asked, want)
		}
	}, s)
}

// After a timeout the other names of the search list are not asked for: each would cost another.
func TestSearchListTimeout(t *testing.T) {
	s := &exchangetest.Server{UDP: func([]byte) []exchangetest.Message { return nil }}
	onResolver(t, Config{Attempts: 1}, files{resolv: "search one two\n"}, func(r *testResolver) {
		began := time.Now()
		_, err := r.Lookup(r.T.Context(), "web")
		if e, ok := errors.AsType[*Error](err); !ok || !e.Timeout() || !e.Temporary() || len(e.Steps) == 0 || time.Since(began) > 6*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	}, s)
}
