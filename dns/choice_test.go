package dns

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/internal/testkit"
)

// mustNotAsk is the system's resolver of a test in which it must not be asked.
func mustNotAsk(t *testing.T) func(context.Context, string) ([]netip.Addr, error) {
	return func(_ context.Context, name string) ([]netip.Addr, error) {
		t.Errorf("the system's resolver was asked for %q", name)
		return nil, errors.New("asked")
	}
}

// Names that no source can have an answer for are errors that state what is wrong, and no source is asked.
func TestRefusedNames(t *testing.T) {
	label := strings.Repeat("x", 64)
	for _, c := range []struct {
		name string
		typ  Type
		err  error
		text string // of the error
	}{
		{"127.1", 0, pollux.ErrBadArgument, "four decimal numbers"},
		{"2130706433", 0, pollux.ErrBadArgument, "four decimal numbers"},
		{"0x7f.1", 0, pollux.ErrBadArgument, "four decimal numbers"},
		{"0x7f000001", 0, pollux.ErrBadArgument, "four decimal numbers"},
		{"a.0X", 0, pollux.ErrBadArgument, "four decimal numbers"},
		{"1.2.3.4.", 0, pollux.ErrBadArgument, "without a final dot"},
		{"01.2.3.4", 0, pollux.ErrBadArgument, "four decimal numbers"},
		{"1.2.3.256", TypeA, pollux.ErrBadArgument, "four decimal numbers"},
		{"[::1]", 0, pollux.ErrBadArgument, "brackets"},
		{"www.example.com:80", 0, pollux.ErrBadArgument, "port"},
		{"::1%", 0, pollux.ErrBadArgument, "IPv6"},
		{"", 0, pollux.ErrBadArgument, "empty"},
		{"", TypeMX, pollux.ErrBadArgument, "empty"},
		{".", 0, pollux.ErrBadArgument, "root"},
		{"a..b", 0, pollux.ErrBadArgument, "empty label"},
		{".a", TypeTXT, pollux.ErrBadArgument, "empty label"},
		{label + ".example", 0, pollux.ErrBadArgument, "63"},
		{strings.Repeat("abcdefg.", 40), TypeNS, pollux.ErrBadArgument, "255"},
		{"a.", 41, pollux.ErrBadArgument, "no record has the type"},
		{"a.", 252, pollux.ErrBadArgument, "no record has the type"},
		{"a.", 255, pollux.ErrBadArgument, "no record has the type"},
		{"facebookwkhpilnemxj7asaniu7vnjjbiltxjqhye3mhbshg7kx5tfyd.onion", 0, ErrNoName, "7686"},
		{"X.Onion.", TypeTXT, ErrNoName, "7686"},
		{"a.invalid", 0, ErrNoName, "6761"},
		{"localhost", TypeMX, ErrNoData, "6761"},
		{"a.localhost.", TypeTXT, ErrNoData, "6761"},
		{"192.0.2.1", TypeAAAA, ErrNoData, ""},
		{"2001:db8::1%eth0", TypeA, ErrNoData, ""},
	} {
		t.Run(c.name+" "+c.typ.String(), func(t *testing.T) {
			for _, strategy := range []Strategy{Auto, Inline, Evented, Pool} {
				s := &exchangetest.Server{UDP: exchangetest.Honest}
				onResolver(t, Config{Strategy: strategy}, files{resolv: "search example.org\n"}, func(r *testResolver) {
					r.lookupHost = mustNotAsk(r.T)
					_, err := r.lookup(r.T.Context(), c.name, c.typ)
					e, ok := errors.AsType[*Error](err)
					if !ok || !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.text) || e.Name != c.name || e.Type != c.typ || e.Temporary() {
						r.T.Errorf("%v: %v, want %v with %q", strategy, err, c.err, c.text)
					}
					if p := r.Explain(c.name, c.typ); p.Err == nil || !errors.Is(p.Err, c.err) {
						r.T.Errorf("%v: %+v, want the error", strategy, p)
					}
					if len(r.exchangers) != 0 || s.Queries[0] != 0 {
						r.T.Errorf("%d queries", s.Queries[0])
					}
				}, s)
			}
		})
	}
}

// Names that only look odd are looked up.
func TestNotRefused(t *testing.T) {
	for name, typ := range map[string]Type{
		"a-1": 0, "1.a.": 0, "0.pool.ntp.org": 0, "0xg": 0, "3com.": 0, "_sip._tcp.example.com": TypeSRV,
		".": TypeNS, "1.0.0.127.in-addr.arpa": TypePTR, "8.8.8.8.": TypeTXT, "a:b": TypeTXT, "onion": 0, "invalid.": 0,
		"a_b.example": 0, "xn--.example": 0, "localhost.example": 0, "mylocalhost.": TypeMX,
		strings.Repeat("x", 63) + ".": 0,
	} {
		if err := refuse(name, typ); err != nil {
			t.Errorf("%q %v: %v", name, typ, err)
		}
	}
}

// With the strategy Inline no source is asked; LookupInline is the same for other resolvers, with their cache.
func TestInlineOnly(t *testing.T) {
	s := &exchangetest.Server{UDP: zone{"a.": {exchangetest.TrueAddr}}.udp}
	onResolver(t, Config{Strategy: Inline}, files{hosts: testHosts}, func(r *testResolver) {
		r.lookupHost = mustNotAsk(r.T)
		r.wantAnswer("192.0.2.9", PathLiteral, "192.0.2.9")
		r.wantAnswer("localhost", PathLocalhost, "127.0.0.1", "::1")
		r.wantAnswer("printer", PathHosts, "192.0.2.7", "2001:db8::7")
		for _, typ := range []Type{typeAddresses, TypeA, TypeMX} {
			if _, err := r.lookup(r.T.Context(), "a.", typ); !errors.Is(err, ErrNotInline) {
				r.T.Errorf("%v: %v, want ErrNotInline", typ, err)
			}
		}
		results := make(chan error, 1)
		r.LookupFunc(r.Loop, "a.", func(_ Answer, err error) { results <- err })
		if err := <-results; !errors.Is(err, ErrNotInline) {
			r.T.Errorf("%v, want ErrNotInline", err)
		}
		if s.Queries[0] != 0 || len(r.exchangers) != 0 {
			r.T.Errorf("%d queries", s.Queries[0])
		}
	}, s)
	onResolver(t, Config{Strategy: Evented}, files{}, func(r *testResolver) {
		lookup := func(want error) {
			r.T.Helper()
			a, err := r.LookupInline("a.", typeAddresses)
			if !errors.Is(err, want) || want == nil && (len(a.Addrs) != 1 || a.Path != PathCache) {
				r.T.Errorf("%+v, %v, want the error %v", a, err, want)
			}
		}
		lookup(ErrNotInline)
		r.Lookup(r.T.Context(), "a.")
		lookup(nil)
		time.Sleep(2 * time.Minute)
		lookup(ErrNotInline)
		if _, err := r.LookupInline("127.1", TypeA); !errors.Is(err, pollux.ErrBadArgument) {
			r.T.Error(err)
		}
	}, s)
}

// Explain returns what the lookup then does, and leaves no trace itself.
func TestExplain(t *testing.T) {
	s := &exchangetest.Server{UDP: zone{"a.": {exchangetest.TrueAddr}}.udp}
	f := files{resolv: "search one two\noptions ndots:2 rotate\n", hosts: testHosts}
	onResolver(t, Config{Timeout: 3 * time.Second, Attempts: 4}, f, func(r *testResolver) {
		before := r.Stats()
		for _, c := range []struct {
			name   string
			typ    Type
			path   Path
			reason string
			names  string
		}{
			{"192.0.2.1", 0, PathLiteral, "IP address", ""},
			{"x.localhost", 0, PathLocalhost, "this machine", ""},
			{"printer", TypeAAAA, PathHosts, "hosts file", ""},
			{"web", 0, PathEvented, "servers were given", "web.one. web.two. web."},
			{"w.x.y", 0, PathEvented, "servers were given", "w.x.y. w.x.y.one. w.x.y.two."},
			{"web.", TypeMX, PathEvented, "other types", "web."},
		} {
			p := r.Explain(c.name, c.typ)
			if p.Path != c.path || !strings.Contains(p.Reason, c.reason) || strings.Join(p.Names, " ") != c.names || p.Name != c.name || p.Type != c.typ || p.Err != nil {
				t.Errorf("%+v, want %+v", p, c)
			}
			if evented := c.path == PathEvented; evented != (len(p.Servers) == 1 && p.Servers[0] == s.Addr && p.Timeout == 3*time.Second && p.Attempts == 4 && p.Rotate && !p.TCP) {
				t.Errorf("%+v: servers and options", p)
			}
			if want := len(p.Types) == 2 && p.Types[0] == TypeA; c.name == "web" && !want {
				t.Errorf("types %v", p.Types)
			}
		}
		if s.Queries[0] != 0 || r.Stats() != before || len(r.exchangers) != 0 {
			t.Errorf("Explain left a trace: %+v, before it %+v", r.Stats(), before)
		}
		r.Lookup(r.T.Context(), "a.")
		r.Lookup(r.T.Context(), "gone.")
		if p := r.Explain("A.", 0); p.Path != PathCache || p.Err != nil {
			t.Errorf("%+v, want the cache", p)
		}
		if p := r.Explain("gone.", 0); p.Path != PathCache || !errors.Is(p.Err, ErrNoName) {
			t.Errorf("%+v, want ErrNoName from the cache", p)
		}
	}, s)
}

// What the pool was asked for has the reason, in the answer as in the error, and as Explain gives it.
func TestReason(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onResolver(t, Config{Strategy: Pool}, files{}, func(r *testResolver) {
		r.poolPath = PathPool
		r.lookupHost = func(_ context.Context, name string) ([]netip.Addr, error) {
			if name == "good" {
				return []netip.Addr{netip.MustParseAddr(exchangetest.TrueAddr)}, nil
			}
			return nil, errors.New("of the system")
		}
		const reason = "the strategy is Pool"
		if a := r.wantAnswer("good", PathPool, exchangetest.TrueAddr); a.Reason != reason {
			t.Errorf("%+v", a)
		}
		_, err := r.Lookup(r.T.Context(), "bad")
		if e, ok := errors.AsType[*Error](err); !ok || e.Reason != reason || e.Path != PathPool || !strings.Contains(err.Error(), "[pool: "+reason+"]") {
			t.Errorf("%v", err)
		}
		if p := r.Explain("good", 0); p.Path != PathPool || p.Reason != reason || p.Servers != nil {
			t.Errorf("%+v", p)
		}
		if a, err := r.LookupType(r.T.Context(), "good.", TypeTXT); err == nil && a.Reason != "" || r.Explain("good.", TypeTXT).Path != PathEvented {
			t.Errorf("%+v, %v", a, err)
		}
	}, s)
}

// Warnings are those of all files, with file and line; what is merely not there is not among them.
func TestWarnings(t *testing.T) {
	var c Config
	files{resolv: "nameserver 192.0.2.53\nnameserver nobody\n", nsswitch: "hosts files\n", hosts: "# a comment\nnobody a\n"}.write(t, &c)
	r := must(New(c))
	defer r.Close()
	text := errors.Join(r.Warnings()...).Error()
	for _, want := range []string{c.ResolvConf + ":2", c.NSSwitch + ":1", c.Hosts + ":2"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nwithout %s", text, want)
		}
	}
	c.ResolvConf, c.NSSwitch, c.Hosts = c.ResolvConf+"-", c.NSSwitch+"-", testkit.TempDir(t)
	other := must(New(c))
	defer other.Close()
	if text := errors.Join(other.Warnings()...).Error(); len(other.Warnings()) != 2 || !strings.Contains(text, c.ResolvConf) || !strings.Contains(text, "regular") {
		t.Errorf("%s\nwant that resolv.conf does not exist, and that hosts is no file", text)
	}
}

// Config has the defaults, and no way to the configuration in force.
func TestConfig(t *testing.T) {
	servers := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}
	r := must(New(Config{Servers: slices.Clone(servers)}))
	defer r.Close()
	c := r.Config()
	if c.CacheEntries != 10_000 || c.PoolWorkers != 64 || c.MaxStale != 24*time.Hour || !slices.Equal(c.Servers, servers) {
		t.Errorf("%+v", c)
	}
	c.Servers[0] = netip.AddrPort{}
	if !slices.Equal(r.Config().Servers, servers) {
		t.Error("the servers in force were changed by way of Config")
	}
}
