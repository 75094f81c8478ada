package dns

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

const evented = Path("evented 10.0.1.0:53 udp")

// rewrite replaces a configuration file, and waits until the resolver has noticed.
func (r *testResolver) rewrite(path, text string) {
	r.T.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.T.Fatal(err)
	}
	for range 2 { // the first call starts the check
		r.view(r.now())
		time.Sleep(6 * time.Second)
	}
}

// A name that comes into the hosts file is answered from there, though the cache has it, and afterwards by the cache
// again.
func TestHostsBeforeCache(t *testing.T) {
	z := zone{"printer.": {exchangetest.TrueAddr}, "gone.": nil}
	s := &exchangetest.Server{UDP: z.udp}
	onResolver(t, Config{}, files{hosts: "192.0.2.7 other\n"}, func(r *testResolver) {
		hosts := r.Config().Hosts
		r.wantAnswer("printer", evented, exchangetest.TrueAddr)
		r.wantAnswer("printer", PathCache, exchangetest.TrueAddr)
		r.Lookup(r.T.Context(), "gone")
		r.rewrite(hosts, "192.0.2.8 printer gone\n")
		r.wantAnswer("printer", PathHosts, "192.0.2.8")
		r.wantAnswer("gone", PathHosts, "192.0.2.8")
		if a, err := r.LookupType(r.T.Context(), "printer", TypeAAAA); !errors.Is(err, ErrNoData) {
			t.Errorf("%+v, %v; the hosts file has no address of that family, but the server was not asked", a, err)
		}
		if st := r.Stats(); st.Cached != 1 || st.Hosts != 2 {
			t.Errorf("%+v, want one answer of the cache and two of the hosts file", st)
		}
		r.rewrite(hosts, "192.0.2.7 other\n")
		r.wantAnswer("printer", PathCache, exchangetest.TrueAddr)
	}, s)
}

// The hosts file has aliases, both families, and names in any case, with a final dot or without.
func TestHostsFile(t *testing.T) {
	const text = "192.0.2.1 One.example alias\n2001:db8::1 one.EXAMPLE\n::ffff:192.0.2.2 mapped\n192.0.2.3 alias\n192.0.2.4 alias\n0.0.0.0 127.1\n"
	s := &exchangetest.Server{UDP: exchangetest.Silent}
	onResolver(t, Config{}, files{hosts: text}, func(r *testResolver) {
		for _, name := range []string{"one.example", "ONE.example.", "One.Example"} {
			if a := r.wantAnswer(name, PathHosts, "192.0.2.1", "2001:db8::1"); !strings.EqualFold(a.Canonical, "one.example") {
				t.Errorf("canonical name %q", a.Canonical)
			}
			for typ, want := range map[Type]string{TypeA: "192.0.2.1", TypeAAAA: "2001:db8::1"} {
				a, err := r.LookupType(r.T.Context(), name, typ)
				if err != nil || len(a.Addrs) != 1 || a.Addrs[0].String() != want {
					t.Errorf("%s %v: %+v, %v", name, typ, a, err)
				}
			}
		}
		r.wantAnswer("ALIAS", PathHosts, "192.0.2.1", "192.0.2.3", "192.0.2.4")
		r.wantAnswer("mapped", PathHosts, "192.0.2.2")
		r.wantAnswer("127.1", PathHosts, "0.0.0.0") // the administrator's will
		a := r.wantAnswer("alias", PathHosts, "192.0.2.1", "192.0.2.3", "192.0.2.4")
		if cap(a.Addrs) != len(a.Addrs) {
			t.Error("append to the addresses would write into the table")
		}
		if s.Queries[0] != 0 {
			t.Errorf("%d queries", s.Queries[0])
		}
	}, s)
}

// A negative answer for a name of the search list ends the validity of what follows from it.
func TestSearchListTTL(t *testing.T) {
	z := zone{"web.two.": {exchangetest.TrueAddr, "2001:db8::1"}}
	s := &exchangetest.Server{UDP: z.udp}
	onResolver(t, Config{}, files{resolv: "search one two\n"}, func(r *testResolver) {
		if a := r.wantAnswer("web", evented, exchangetest.TrueAddr, "2001:db8::1"); a.TTL != 30*time.Second {
			t.Errorf("TTL %v, want 30 s: then web.one. may exist", a.TTL)
		}
		z["web.one."] = []string{exchangetest.ForgedAddr}
		r.wantAnswer("web", PathCache, exchangetest.TrueAddr, "2001:db8::1")
		time.Sleep(31 * time.Second)
		r.wantAnswer("web", evented, exchangetest.ForgedAddr)
	}, s)
}

// What was found after a failure of a name before it in the search list is not stored under the name asked for.
func TestSearchListFailure(t *testing.T) {
	z, broken := zone{"web.two.": {exchangetest.TrueAddr, "2001:db8::1"}}, true
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		if name, _ := questionOf(q); broken && name == "web.one." {
			return []exchangetest.Message{exchangetest.AnswerTo(q).Rcode(2)}
		}
		return z.udp(q)
	}}
	onResolver(t, Config{}, files{resolv: "search one two\n"}, func(r *testResolver) {
		r.wantAnswer("web", evented, exchangetest.TrueAddr, "2001:db8::1")
		broken, z["web.one."] = false, []string{exchangetest.ForgedAddr}
		r.wantAnswer("web", evented, exchangetest.ForgedAddr)
	}, s)
}

// Each type is cached separately, negative answers too, until the TTL ends.
func TestKnownTypes(t *testing.T) {
	s := &exchangetest.Server{UDP: zone{"a.": {exchangetest.TrueAddr}}.udp}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		for _, c := range []struct {
			name string
			typ  Type
			err  error
			ttl  time.Duration
		}{{"a.", TypeA, nil, time.Minute}, {"a.", TypeAAAA, ErrNoData, 30 * time.Second}, {"gone.", TypeTXT, ErrNoName, 30 * time.Second}} {
			for _, name := range []string{c.name, c.name, strings.ToUpper(c.name)} {
				a, err := r.LookupType(r.T.Context(), name, c.typ)
				e, _ := errors.AsType[*Error](err)
				if !errors.Is(err, c.err) || e != nil && (e.Name != name || e.Type != c.typ) || e == nil && (a.Name != name || a.Type != c.typ) {
					t.Errorf("%s %v: %+v, %v", name, c.typ, a, err)
				}
			}
			asked := s.Queries[0]
			time.Sleep(c.ttl - time.Second)
			if r.LookupType(r.T.Context(), c.name, c.typ); s.Queries[0] != asked {
				t.Errorf("%v: asked again before the TTL had ended", c)
			}
			time.Sleep(2 * time.Second)
			if r.LookupType(r.T.Context(), c.name, c.typ); s.Queries[0] != asked+1 {
				t.Errorf("%v: %d queries after the TTL, want one more than %d", c, s.Queries[0], asked)
			}
		}
	}, s)
}

// An answer with TTL 0 is for the lookups that have waited for it, and for no others.
func TestTTLZero(t *testing.T) {
	s := &exchangetest.Server{UDP: slowly(func(q []byte) []exchangetest.Message {
		a := exchangetest.AnswerTo(q, exchangetest.TrueAddr)
		copy(a[len(a)-10:], []byte{0, 0, 0, 0})
		return []exchangetest.Message{a}
	})}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		results := make(chan Answer, 2)
		for range 2 {
			r.LookupTypeFunc(r.Loop, "a.", TypeA, func(a Answer, err error) { results <- a })
		}
		for range 2 {
			if a := <-results; a.TTL != 0 || len(a.Addrs) != 1 || a.Path != evented {
				t.Errorf("%+v", a)
			}
		}
		a, err := r.LookupType(r.T.Context(), "a.", TypeA)
		if err != nil || a.Path != evented || s.Queries[0] != 2 || r.Stats().Cache.Entries != 0 {
			t.Errorf("%+v, %v, %d queries, want 2; %+v", a, err, s.Queries[0], r.Stats().Cache)
		}
	}, s)
}

// A family without addresses, for a time that is not known, does not hide the TTL of the other one. It is asked for again.
func TestNoSOA(t *testing.T) {
	asked := map[Type]int{}
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		_, typ := questionOf(q)
		asked[typ]++
		if typ == TypeA {
			return []exchangetest.Message{exchangetest.AnswerTo(q, exchangetest.TrueAddr)}
		}
		return []exchangetest.Message{exchangetest.AnswerTo(q)}
	}}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		ttl := must(r.LookupType(r.T.Context(), "a.", TypeA)).TTL
		for range 2 {
			if a := must(r.Lookup(r.T.Context(), "a.")); a.TTL > ttl || a.TTL < ttl-time.Second || ttl == 0 || len(a.Addrs) != 1 {
				t.Errorf("%+v, want a TTL of %v", a, ttl)
			}
		}
		if asked[TypeA] != 1 || asked[TypeAAAA] != 2 {
			t.Errorf("asked %v, want once for A and twice for AAAA", asked)
		}
	}, s)
}

// The answer of a query from before a change of the configuration is for the lookups that have waited, not for the cache.
func TestEpoch(t *testing.T) {
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message { time.Sleep(20 * time.Second); return exchangetest.Honest(q) }}
	onResolver(t, Config{Timeout: time.Minute}, files{}, func(r *testResolver) {
		results := make(chan Answer, 1)
		r.LookupTypeFunc(r.Loop, "a.", TypeA, func(a Answer, _ error) { results <- a })
		time.Sleep(time.Second)
		r.rewrite(r.Config().ResolvConf, "options ndots:3\n")
		if a := <-results; len(a.Addrs) != 1 {
			t.Errorf("%+v", a)
		}
		if a, err := r.LookupType(r.T.Context(), "a.", TypeA); err != nil || a.Path != evented || s.Queries[0] != 2 {
			t.Errorf("%+v, %v, %d queries: the answer of the old configuration was cached", a, err, s.Queries[0])
		}
	}, s)
}
