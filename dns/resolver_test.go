package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// A zone answers as a recursive server that knows the records in it: by name, in lower case with the
// final dot, the addresses. A name without addresses exists; others do not.
type zone map[string][]string

// questionOf returns the name and the type that a query asks for.
func questionOf(q []byte) (name string, t Type) {
	end := questionEnd(q)
	return dnswire.Name(q[answerOffset : end-4]).Fold().String(), Type(binary.BigEndian.Uint16(q[end-4:]))
}

func (z zone) answer(q []byte) answer {
	name, t := questionOf(q)
	var addrs []string
	for _, a := range z[name] {
		if netip.MustParseAddr(a).Is4() == (t == TypeA) {
			addrs = append(addrs, a)
		}
	}
	a := answerTo(q, addrs...)
	if len(addrs) > 0 {
		return a
	}
	a[9] = 1 // an SOA record, of the root, with TTL and minimum of 30 s
	a = append(a, 0, 0, 6, 0, 1, 0, 0, 0, 30, 0, 22, 0, 0)
	for range 4 {
		a = append(a, 0, 0, 0, 0)
	}
	a = append(a, 0, 0, 0, 30)
	if _, ok := z[name]; !ok {
		a.rcode(3)
	}
	return a
}

func (z zone) udp(q []byte) []answer { return []answer{z.answer(q)} }

// A testResolver is a Resolver on a testNet, with configuration files.
type testResolver struct {
	*testNet
	*Resolver
}

// files are the configuration of a test.
type files struct{ resolv, nsswitch, hosts string }

func (f files) write(t testing.TB, c *Config) {
	dir := testkit.TempDir(t)
	c.ResolvConf, c.NSSwitch, c.Hosts = filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "nsswitch.conf"), filepath.Join(dir, "hosts")
	for path, text := range map[string]string{c.ResolvConf: f.resolv, c.NSSwitch: f.nsswitch, c.Hosts: f.hosts} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// onResolver runs f with a resolver in a bubble. The servers are those of the configuration.
func onResolver(t *testing.T, c Config, f files, test func(r *testResolver), servers ...*testServer) {
	t.Helper()
	t.Setenv("LOCALDOMAIN", "") // unset below: t.Setenv restores it
	os.Unsetenv("LOCALDOMAIN")
	t.Setenv("RES_OPTIONS", "")
	f.write(t, &c)
	onTestNet(t, func(n *testNet) {
		c.Group = n.loop.Group()
		c.Servers = n.policy.servers
		r := &testResolver{n, must(New(c))}
		test(r)
		r.Close()
	}, servers...)
}

func (r *testResolver) wantAnswer(name string, p Path, addrs ...string) Answer {
	r.t.Helper()
	a, err := r.Lookup(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	got := []string{}
	for _, addr := range a.Addrs {
		got = append(got, addr.String())
	}
	if slices.Sort(got); !slices.Equal(got, addrs) || a.Path != p || a.Name != name {
		r.t.Fatalf("%+v, want the addresses %v from %q", a, addrs, p)
	}
	return a
}

const testHosts = "192.0.2.7 Printer printer.home # a comment\n2001:db8::7 printer\n"

// What is known is answered without a server.
func TestInline(t *testing.T) {
	s := &testServer{udp: honest}
	onResolver(t, Config{}, files{hosts: testHosts}, func(r *testResolver) {
		r.wantAnswer("192.0.2.9", PathLiteral, "192.0.2.9")
		r.wantAnswer("fe80::1%eth0", PathLiteral, "fe80::1%eth0")
		r.wantAnswer("LocalHost", PathLocalhost, "127.0.0.1", "::1")
		r.wantAnswer("a.localhost.", PathLocalhost, "127.0.0.1", "::1")
		r.wantAnswer("PRINTER", PathHosts, "192.0.2.7", "2001:db8::7")
		if a := r.wantAnswer("printer.home", PathHosts, "192.0.2.7"); a.Canonical != "printer" {
			t.Errorf("canonical name %q", a.Canonical)
		}
		a, err := r.LookupType(r.t.Context(), "printer", TypeAAAA)
		if err != nil || len(a.Addrs) != 1 || !a.Addrs[0].Is6() || a.Type != TypeAAAA {
			t.Errorf("%+v, %v", a, err)
		}
		if s.queries[0] != 0 || r.client.Descriptors() != 0 {
			t.Errorf("%d queries, %d sockets", s.queries[0], r.client.Descriptors())
		}
	}, s)
}

// An answer of a server is used while its TTL lasts, and not longer.
func TestCache(t *testing.T) {
	z := zone{"www.example.com.": {trueAddr, "2001:db8::1"}}
	s := &testServer{udp: z.udp}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		evented := Path("evented 10.0.1.0:53 udp")
		a := r.wantAnswer("www.example.com", evented, trueAddr, "2001:db8::1")
		if a.TTL != time.Minute || len(a.Records) != 2 || a.Canonical != "www.example.com." {
			t.Errorf("%+v", a)
		}
		time.Sleep(20 * time.Second)
		for _, name := range []string{"www.example.com", "WWW.example.com", "www.example.com."} {
			if a := r.wantAnswer(name, PathCache, trueAddr, "2001:db8::1"); a.TTL > 40*time.Second {
				t.Errorf("%s has TTL %v after 20 s of a minute", name, a.TTL)
			}
		}
		if s.queries[0] != 2 {
			t.Errorf("%d queries, want one for each type", s.queries[0])
		}
		time.Sleep(41 * time.Second)
		r.wantAnswer("www.example.com", evented, trueAddr, "2001:db8::1")
		r.Flush()
		r.wantAnswer("www.example.com", evented, trueAddr, "2001:db8::1")
	}, s)
}

// What does not exist is distinguished from what has no addresses, and both are cached.
func TestNotFound(t *testing.T) {
	s := &testServer{udp: zone{"exists.": nil}.udp}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		for range 2 {
			for name, want := range map[string]error{"exists.": ErrNoData, "missing.": ErrNoName} {
				_, err := r.Lookup(r.t.Context(), name)
				e, ok := errors.AsType[*Error](err)
				if !ok || !errors.Is(err, want) || !errors.Is(err, ErrNotFound) || e.Path == "" || e.Timeout() || e.Temporary() {
					t.Errorf("%s: %v, want %v", name, err, want)
				}
			}
		}
		if s.queries[0] != 4 {
			t.Errorf("%d queries, want 4", s.queries[0])
		}
		time.Sleep(31 * time.Second)
		r.Lookup(r.t.Context(), "missing.")
		if s.queries[0] != 6 {
			t.Errorf("%d queries after the negative TTL, want 6", s.queries[0])
		}
	}, s)
}

// The search list applies in the order that ndots demands, until a name has an answer.
func TestSearchList(t *testing.T) {
	z := zone{"web.two.": {trueAddr}, "web.x.": {forgedAddr}, "c.d.": {trueAddr}}
	var asked []string
	s := &testServer{udp: func(q []byte) []answer {
		if name, typ := questionOf(q); typ == TypeA {
			asked = append(asked, name)
		}
		return z.udp(q)
	}}
	onResolver(t, Config{}, files{resolv: "search one two x\n"}, func(r *testResolver) {
		if a := r.wantAnswer("web", "evented 10.0.1.0:53 udp", trueAddr); a.Canonical != "web.two." || a.TTL != 30*time.Second {
			t.Errorf("canonical name %q, TTL %v, want that of the negative answer for AAAA", a.Canonical, a.TTL)
		}
		r.wantAnswer("c.d", "evented 10.0.1.0:53 udp", trueAddr)
		r.Lookup(r.t.Context(), "gone.")
		if want := []string{"web.one.", "web.two.", "c.d.", "gone."}; !slices.Equal(asked, want) {
			t.Errorf("asked for %q, want %q", asked, want)
		}
	}, s)
}

// After a timeout the other names of the search list are not asked for: each would cost another.
func TestSearchListTimeout(t *testing.T) {
	s := &testServer{udp: func([]byte) []answer { return nil }}
	onResolver(t, Config{Attempts: 1}, files{resolv: "search one two\n"}, func(r *testResolver) {
		began := time.Now()
		_, err := r.Lookup(r.t.Context(), "web")
		if e, ok := errors.AsType[*Error](err); !ok || !e.Timeout() || !e.Temporary() || len(e.Steps) == 0 || time.Since(began) > 6*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	}, s)
}

// If a server fails for one type only, the addresses of the other are the answer; it is not cached whole.
func TestOneFamilyFails(t *testing.T) {
	s := &testServer{udp: func(q []byte) []answer {
		if _, typ := questionOf(q); typ == TypeAAAA {
			return []answer{answerTo(q).rcode(2)}
		}
		return honest(q)
	}}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		for _, p := range []Path{"evented 10.0.1.0:53 udp", PathCache} {
			if a := r.wantAnswer("a.", p, trueAddr); len(a.Steps) != 2 {
				t.Errorf("steps %v", a.Steps)
			}
		}
		if s.queries[0] != 1+2+2 {
			t.Errorf("%d queries", s.queries[0])
		}
	}, s)
}

// While no server answers, an old answer is used (RFC 8767), with one refresh in 30 s.
func TestStale(t *testing.T) {
	dead := false
	z := zone{"a.": {trueAddr, "2001:db8::1"}}
	s := &testServer{udp: func(q []byte) []answer {
		if dead {
			return nil
		}
		return z.udp(q)
	}}
	onResolver(t, Config{Timeout: time.Second, Attempts: 1}, files{}, func(r *testResolver) {
		r.wantAnswer("a.", "evented 10.0.1.0:53 udp", trueAddr, "2001:db8::1")
		dead = true
		time.Sleep(2 * time.Minute)
		began := time.Now()
		if a := r.wantAnswer("a.", PathStale, trueAddr, "2001:db8::1"); !a.Stale || a.TTL > 30*time.Second {
			t.Errorf("%+v", a)
		}
		if time.Since(began) < time.Second {
			t.Error("a stale answer was used before the servers had been asked")
		}
		if r.wantAnswer("a.", PathStale, trueAddr, "2001:db8::1"); s.queries[0] != 2+2 {
			t.Errorf("%d queries", s.queries[0])
		}
		dead = false
		time.Sleep(31 * time.Second)
		if a := r.wantAnswer("a.", "evented 10.0.1.0:53 udp", trueAddr, "2001:db8::1"); a.Stale {
			t.Errorf("%+v", a)
		}
	}, s)
}

// Lookups of one name have one query, and each can be canceled alone.
func TestShared(t *testing.T) {
	z := zone{"a.": {trueAddr}}
	s := &testServer{udp: func(q []byte) []answer { time.Sleep(time.Second); return z.udp(q) }}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		const lookups = 100
		results := make(chan error, 2*lookups)
		var all []*Lookup
		for range lookups {
			all = append(all, r.LookupFunc(r.loop, "a.", func(_ Answer, err error) { results <- err }))
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
		if canceled != lookups/2 || len(results) != 0 || s.queries[0] != 2 {
			t.Errorf("%d canceled, %d too many calls, %d queries", canceled, len(results), s.queries[0])
		}
	}, s)
}

// When the last lookup leaves, its query ends.
func TestAllCanceled(t *testing.T) {
	s := &testServer{udp: func([]byte) []answer { return nil }}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := r.Lookup(ctx, "a.")
		if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, context.DeadlineExceeded) || !e.Timeout() || time.Since(began) > time.Second+time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(time.Minute)
		if flights, waiters := r.flights.InFlight(); flights+waiters+r.client.Descriptors() != 0 || s.queries[0] != 2 {
			t.Errorf("%d flights, %d waiters, %d descriptors, %d queries", flights, waiters, r.client.Descriptors(), s.queries[0])
		}
		if _, err := r.Lookup(ctx, "192.0.2.1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v with a context that has ended", err)
		}
	}, s)
}

// done is called on the loop, in a later turn, also with what is known.
func TestLookupFunc(t *testing.T) {
	s := &testServer{udp: honest}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		results := make(chan Answer, 1)
		for _, name := range []string{"192.0.2.1", "a.", "a."} {
			r.run(func() {
				returned := false
				r.LookupFunc(r.loop, name, func(a Answer, err error) {
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

// Close ends what is in progress, and nothing begins after it.
func TestClose(t *testing.T) {
	s := &testServer{udp: func([]byte) []answer { return nil }}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		results := make(chan error, 2)
		r.LookupFunc(r.loop, "a.", func(_ Answer, err error) { results <- err })
		go func() {
			_, err := r.Lookup(r.t.Context(), "b.")
			results <- err
		}()
		time.Sleep(time.Second)
		r.Close()
		r.Close()
		for range 2 {
			if err := <-results; !errors.Is(err, ErrClosed) {
				t.Errorf("%v, want ErrClosed", err)
			}
		}
		if _, err := r.Lookup(r.t.Context(), "c."); !errors.Is(err, ErrClosed) {
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

// The pool resolves what the strategy or the configuration leaves to the system.
func TestPool(t *testing.T) {
	s := &testServer{udp: honest}
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
		r.wantAnswer("printer", PathPool, "192.0.2.5", "2001:db8::5")
		a, err := r.LookupType(r.t.Context(), "printer", TypeA)
		if err != nil || len(a.Addrs) != 1 || !a.Addrs[0].Is4() {
			t.Errorf("%+v, %v", a, err)
		}
		results := make(chan error, 4)
		var all []*Lookup
		for i := range 4 {
			all = append(all, r.LookupFunc(r.loop, fmt.Sprint("slow", i), func(_ Answer, err error) { results <- err }))
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
		if s.queries[0] != 0 {
			t.Errorf("%d queries", s.queries[0])
		}
	}, s)
}

// Auto asks DNS servers only where the system's resolver would do just that.
func TestAuto(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("Auto always asks this system's resolver, which has sources besides DNS servers")
	}
	for _, c := range []struct {
		files
		name string
		pool string // a part of the reason
	}{
		{files{}, "example.com", ""},
		{files{nsswitch: "hosts: files dns\n"}, "example.com", ""},
		{files{nsswitch: "hosts: files mdns4_minimal [NOTFOUND=return] dns\n"}, "example.com", ""},
		{files{nsswitch: "hosts: files dns myhostname\n"}, "example.com", ""},
		{files{nsswitch: "hosts: files dns myhostname\n"}, "_gateway", "myhostname"},
		{files{nsswitch: "hosts: files resolve dns\n"}, "example.com", "resolve"},
		{files{nsswitch: "hosts: files\n"}, "example.com", "does not have dns"},
		{files{nsswitch: "hosts: dns files\n", hosts: testHosts}, "printer", "files after dns"},
		{files{nsswitch: "hosts: dns files\n", hosts: testHosts}, "example.com", ""},
		{files{nsswitch: "hosts: files [NOTFOUND=return] dns\n"}, "example.com", "ends the lookup"},
		{files{}, "printer.local.", "multicast"},
		{files{resolv: "sortlist 10.0.0.0\n"}, "example.com", "resolv.conf has"},
		{files{resolv: "nameserver 192.0.2.53\noptions something-new\n"}, "example.com", "resolv.conf has"},
	} {
		t.Run(fmt.Sprintf("%s %+v", c.name, c.files), func(t *testing.T) {
			var config Config
			c.files.write(t, &config)
			r := must(New(config))
			defer r.Close()
			switch reason := poolReason(r.source.Snapshot(0), c.name); {
			case c.pool == "" && reason != "", !strings.Contains(reason, c.pool):
				t.Errorf("reason %q, want %q", reason, c.pool)
			}
		})
	}
}

func TestMisuse(t *testing.T) {
	for name, c := range map[string]Config{
		"strategy": {Strategy: 4}, "timeout": {Timeout: -1}, "attempts": {Attempts: -1},
		"server": {Servers: []netip.AddrPort{{}}}, "port": {Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:0")}},
	} {
		if _, err := New(c); !errors.Is(err, pollux.ErrBadArgument) {
			t.Errorf("%s: %v, want ErrBadArgument", name, err)
		}
	}
	s := &testServer{udp: honest}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		for name, typ := range map[string]Type{"a.": 0, "b.": 255, "ü.": TypeA, "a..b": TypeA, "": TypeA} {
			if _, err := r.LookupType(r.t.Context(), name, typ); err == nil {
				t.Errorf("%q %v: no error", name, typ)
			}
		}
		if s.queries[0] != 0 {
			t.Errorf("%d queries", s.queries[0])
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
			z := zone{"a.": {trueAddr}}
			s := &testServer{udp: func(q []byte) []answer { time.Sleep(time.Second); return z.udp(q) }}
			onResolver(t, Config{}, files{resolv: "options " + options + "\n"}, func(r *testResolver) {
				results := make(chan error, 1)
				r.LookupFunc(r.loop, "a.", func(_ Answer, err error) { results <- err })
				time.Sleep(time.Second / 2)
				x := must(r.exchanger(r.loop))
				if sent := x.sentUDP.Load(); sent != want.sent {
					t.Errorf("%d queries before the first response, want %d", sent, want.sent)
				}
				if err := <-results; err != nil || x.sentUDP.Load() != want.all {
					t.Errorf("%v, %d queries, want %d", err, x.sentUDP.Load(), want.all)
				}
			}, s)
		})
	}
}

// Records of other types come with the aliases before them.
func TestLookupType(t *testing.T) {
	s := &testServer{udp: func(q []byte) []answer {
		a := answerTo(q)
		a[7] = 2                                                                    // answers
		a = append(a, 0xc0, answerOffset, 0, 5, 0, 1, 0, 0, 0, 50, 0, 3, 1, 'b', 0) // a. CNAME b.
		a = append(a, 1, 'b', 0, 0, 33, 0, 1, 0, 0, 0, 40, 0, 9, 0, 1, 0, 2, 0, 80, 1, 'c', 0)
		return []answer{a}
	}}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		for _, p := range []Path{"evented 10.0.1.0:53 udp", PathCache} {
			a, err := r.LookupType(r.t.Context(), "a.", TypeSRV)
			if err != nil || len(a.Records) != 2 || a.Canonical != "b." || a.TTL.Round(time.Second) != 40*time.Second || a.Path != p {
				t.Fatalf("%+v, %v", a, err)
			}
			if srv := a.Records[1]; a.Records[0].Target != "b." || srv.Target != "c." || srv.Preference != 1 || srv.Weight != 2 || srv.Port != 80 || srv.Value != "1 2 80 c." {
				t.Errorf("%+v", a.Records)
			}
		}
	}, s)
}

// Close ends lookups of the pool, whose functions it waits for.
func TestClosePool(t *testing.T) {
	onResolver(t, Config{Strategy: Pool}, files{}, func(r *testResolver) {
		r.lookupHost = func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		results := make(chan error, 1)
		r.LookupFunc(r.loop, "a.", func(_ Answer, err error) { results <- err })
		time.Sleep(time.Second)
		r.Close()
		if err := <-results; !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	}, &testServer{udp: honest})
}
