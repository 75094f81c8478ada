package fetch

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/save"
	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/testkit"
)

// memory is an Output that stores complete bodies, and counts the others.
type memory struct {
	mu      sync.Mutex
	whole   map[int][]byte
	aborted int
	fail    error // what writing fails with
}

type memoryBody struct {
	m     *memory
	index int
	buf   bytes.Buffer
}

func (m *memory) Create(index int) (save.Body, error) { return &memoryBody{m: m, index: index}, nil }

func (b *memoryBody) Write(p []byte) (int, error) {
	if b.m.fail != nil {
		return 0, b.m.fail
	}
	return b.buf.Write(p)
}

func (b *memoryBody) Commit() error {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	b.m.whole[b.index] = b.buf.Bytes()
	return nil
}

func (b *memoryBody) Abort() bool {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	b.m.aborted++
	return true
}

// A bench has the configuration and output of a test.
type bench struct {
	Config
	ctx     context.Context
	hosts   string           // the text of the hosts file
	servers []netip.AddrPort // the name servers
	lookups int              // dns.Config.MaxInFlight
	out     save.Output
	ended   func(*Result) // called with each result, on the loop; may be nil
	memory  *memory
}

func newBench(t *testing.T) *bench {
	testkit.CheckLeaks(t)
	b := newBenchInBubble(t)
	b.Connect, b.Idle = testkit.Watchdog, testkit.Watchdog // of a real clock
	return b
}

// newBenchInBubble is newBench without the search for leaks, which a bubble does itself.
func newBenchInBubble(t *testing.T) *bench {
	m := &memory{whole: make(map[int][]byte)}
	return &bench{
		Config: Config{
			Parallel: 100, Connect: 10 * time.Second, Idle: 10 * time.Second,
			FirstBackOff: time.Millisecond, MaxRedirects: 5, UserAgent: "test",
		},
		ctx: t.Context(), out: m, memory: m,
		servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:9")}, // where no server is, or none of DNS
	}
}

// resolver returns a resolver that has only the names of the hosts file, and the name servers.
func (b *bench) resolver(t *testing.T) *dns.Resolver {
	t.Helper()
	dir := testkit.TempDir(t)
	c := dns.Config{
		Strategy: dns.Evented, Servers: b.servers, MaxInFlight: b.lookups,
		Hosts:      filepath.Join(dir, "hosts"),
		ResolvConf: filepath.Join(dir, "missing"), NSSwitch: filepath.Join(dir, "missing"),
	}
	if err := os.WriteFile(c.Hosts, []byte(b.hosts), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := dns.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run fetches the URLs and returns the results in their order.
func (b *bench) run(t *testing.T, urls ...string) []*Result {
	t.Helper()
	results, err := b.try(t, urls...)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func (b *bench) try(t *testing.T, urls ...string) ([]*Result, error) {
	t.Helper()
	names := b.resolver(t)
	defer names.Close()
	var jobs []*Job
	for i, u := range urls {
		jobs = append(jobs, NewJob(i, u))
	}
	var results []*Result
	e, err := New(b.Config, names, b.out, func(r *Result) {
		results = append(results, r)
		if b.ended != nil {
			b.ended(r)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	err = e.Run(b.ctx, jobs)
	if n := e.group.Conns(); n != 0 {
		t.Errorf("%d connections are open after the run", n)
	}
	slices.SortFunc(results, func(a, b *Result) int { return a.Job.Index - b.Job.Index })
	return results, err
}

// one fetches one URL, fails the test on an error, and returns its body.
func (b *bench) one(t *testing.T, url string) (*Result, string) {
	t.Helper()
	r := b.run(t, url)[0]
	if r.Err != nil {
		t.Fatalf("%s: %v", url, r.Err)
	}
	return r, string(b.memory.whole[0])
}

// hostsFile returns the text of a hosts file in which name has addrs.
func hostsFile(name string, addrs ...string) string {
	text := ""
	for _, a := range addrs {
		text += a + " " + name + "\n"
	}
	return text
}
