package dns

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

// International names are asked for in their ASCII form, and answers have the name as it was given.
func TestInternationalNames(t *testing.T) {
	z := zone{"xn--bcher-kva.example.": {exchangetest.TrueAddr}, "_x.xn--bcher-kva.example.": {exchangetest.TrueAddr}, "xn--garbage--.example.": {exchangetest.TrueAddr}}
	s := &exchangetest.Server{UDP: z.udp}
	evented := Path("evented 10.0.1.0:53 udp")
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		a := r.wantAnswer("bücher.example.", evented, exchangetest.TrueAddr)
		if a.Canonical != "xn--bcher-kva.example." {
			t.Errorf("canonical name %q", a.Canonical)
		}
		for _, name := range []string{"BÜCHER。example｡", "xn--bcher-kva.example.", "bu\u0308cher.example."} {
			r.wantAnswer(name, PathCache, exchangetest.TrueAddr)
		}
		r.wantAnswer("_x.bücher.example", evented, exchangetest.TrueAddr)
		r.wantAnswer("xn--garbage--.example.", evented, exchangetest.TrueAddr)
		r.wantAnswer("１９２.0.2.9", PathLiteral, "192.0.2.9")
		queries := s.Queries[0]
		for _, name := range []string{"a\u200dü.example.", "ü.\u0308.", strings.Repeat("ü", 60) + ".example.", "ü＼.example.", "ü..example"} {
			_, err := r.Lookup(r.T.Context(), name)
			results := make(chan error, 1)
			r.LookupFunc(r.Loop, name, func(_ Answer, err error) { results <- err })
			for _, err := range []error{err, <-results} {
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Name != name || !strings.Contains(name, "..") && !errors.Is(err, pollux.ErrBadArgument) {
					t.Errorf("%q: %v, want ErrBadArgument", name, err)
				}
			}
		}
		if s.Queries[0] != queries {
			t.Errorf("%d queries for invalid names", s.Queries[0]-queries)
		}
		results := make(chan Answer, 1)
		r.LookupFunc(r.Loop, "bücher.example.", func(a Answer, _ error) { results <- a })
		if a := <-results; a.Name != "bücher.example." || a.Path != PathCache {
			t.Errorf("%+v", a)
		}
		if _, err := r.Lookup(r.T.Context(), "fehlt.bücher.example."); !strings.Contains(err.Error(), `"fehlt.bücher.example."`) || !errors.Is(err, ErrNoName) {
			t.Errorf("%v, want ErrNoName", err)
		}
	}, s)
}

// The search list and the hosts file may have international names, in either form.
func TestInternationalConfiguration(t *testing.T) {
	var asked []string
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		if name, typ := questionOf(q); typ == TypeA {
			asked = append(asked, name)
		}
		return zone{"web.xn--bcher-kva.example.": {exchangetest.TrueAddr}, "xn--gro-7ka.xn--bcher-kva.example.": {exchangetest.TrueAddr}}.udp(q)
	}}
	f := files{resolv: "search bücher.example\n", hosts: "192.0.2.7 drücker\n192.0.2.8 xn--tr-xka.example\n"}
	onResolver(t, Config{}, f, func(r *testResolver) {
		r.wantAnswer("web", "evented 10.0.1.0:53 udp", exchangetest.TrueAddr)
		r.wantAnswer("gro\u00df", "evented 10.0.1.0:53 udp", exchangetest.TrueAddr)
		r.wantAnswer("drücker", PathHosts, "192.0.2.7")
		r.wantAnswer("xn--drcker-4ya", PathHosts, "192.0.2.7")
		r.wantAnswer("tür.example", PathHosts, "192.0.2.8")
		results := make(chan Answer, 1)
		r.LookupFunc(r.Loop, "drücker", func(a Answer, _ error) { results <- a })
		if a := <-results; a.Name != "drücker" || a.Path != PathHosts {
			t.Errorf("%+v", a)
		}
		if want := []string{"web.xn--bcher-kva.example.", "xn--gro-7ka.xn--bcher-kva.example."}; !slices.Equal(asked, want) {
			t.Errorf("asked for %q, want %q", asked, want)
		}
	}, s)
}

// Names of Happy Eyeballs are converted, too.
func TestDialInternational(t *testing.T) {
	onDialTest(t, 0, func(d *dialTest) {
		c, err := d.dial("ＴＡＲＧＥＴ。:80")
		d.want(c, err, "[2001:db8:1::1]:80", []string{"2001:db8:1::1"}, 0)
		if _, err := d.dial("a\u200db.:80"); !errors.Is(err, pollux.ErrBadArgument) || !strings.Contains(err.Error(), "joiner") {
			t.Errorf("%v, want ErrBadArgument", err)
		}
	})
}
