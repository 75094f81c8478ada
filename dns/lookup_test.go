package dns

import (
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

// If a server fails for one type only, the addresses of the other are the answer; it is not cached whole.
func TestOneFamilyFails(t *testing.T) {
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		if _, typ := questionOf(q); typ == TypeAAAA {
			return []exchangetest.Message{exchangetest.AnswerTo(q).Rcode(2)}
		}
		return exchangetest.Honest(q)
	}}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		for _, p := range []Path{"evented 10.0.1.0:53 udp", PathCache} {
			if a := r.wantAnswer("a.", p, exchangetest.TrueAddr); len(a.Steps) != 2 {
				t.Errorf("steps %v", a.Steps)
			}
		}
		if s.Queries[0] != 1+2+2 {
			t.Errorf("%d queries", s.Queries[0])
		}
	}, s)
}

// done is called on the loop, in a later turn, also with what is known.
func TestLookupFunc(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		results := make(chan Answer, 1)
		for _, name := range []string{"192.0.2.1", "a.", "a."} {
			r.Run(func() {
				returned := false
				r.LookupFunc(r.Loop, name, func(a Answer, err error) {
					if !returned || err != nil {
						t.Errorf("done was called within LookupFunc, or with %v", err)
					}
					results <- a
				})
				returned = true
			})
			<-results
		}
	}, s)
}

// The options of resolv.conf apply that concern both families.
func TestOptions(t *testing.T) {
	for options, want := range map[string]struct{ sent, all uint64 }{
		"":                      {2, 2},
		"single-request":        {1, 2},
		"single-request-reopen": {1, 2},
		"no-aaaa":               {1, 1},
	} {
		t.Run(options, func(t *testing.T) {
			z := zone{"a.": {exchangetest.TrueAddr}}
			s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message { time.Sleep(time.Second); return z.udp(q) }}
			onResolver(t, Config{}, files{resolv: "options " + options + "\n"}, func(r *testResolver) {
				results := make(chan error, 1)
				r.LookupFunc(r.Loop, "a.", func(_ Answer, err error) { results <- err })
				time.Sleep(time.Second / 2)
				x := must(r.exchanger(r.Loop))
				if sent := x.Traffic().SentUDP; sent != want.sent {
					t.Errorf("%d queries before the first response, want %d", sent, want.sent)
				}
				if err := <-results; err != nil || x.Traffic().SentUDP != want.all {
					t.Errorf("%v, %d queries, want %d", err, x.Traffic().SentUDP, want.all)
				}
			}, s)
		})
	}
}

// Records of other types come with the aliases before them.
func TestLookupType(t *testing.T) {
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		a := exchangetest.AnswerTo(q)
		a[7] = 2                                                                                   // answers
		a = append(a, 0xc0, exchangetest.QuestionOffset, 0, 5, 0, 1, 0, 0, 0, 50, 0, 3, 1, 'b', 0) // a. CNAME b.
		a = append(a, 1, 'b', 0, 0, 33, 0, 1, 0, 0, 0, 40, 0, 9, 0, 1, 0, 2, 0, 80, 1, 'c', 0)
		return []exchangetest.Message{a}
	}}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		for _, p := range []Path{"evented 10.0.1.0:53 udp", PathCache} {
			a, err := r.LookupType(r.T.Context(), "a.", TypeSRV)
			if err != nil || len(a.Records) != 2 || a.Canonical != "b." || a.TTL.Round(time.Second) != 40*time.Second || a.Path != p {
				t.Fatalf("%+v, %v", a, err)
			}
			if srv := a.Records[1]; a.Records[0].Target != "b." || srv.Target != "c." || srv.Preference != 1 || srv.Weight != 2 || srv.Port != 80 || srv.Value != "1 2 80 c." {
				t.Errorf("%+v", a.Records)
			}
		}
	}, s)
}
