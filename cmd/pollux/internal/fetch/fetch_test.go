package fetch

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/resolve"
	"github.com/pollux-io/pollux/cmd/pollux/internal/save"
	"github.com/pollux-io/pollux/cmd/pollux/internal/wire"
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
	ctx    context.Context
	lookup resolve.Lookup
	out    save.Output
	memory *memory
}

func newBench(t *testing.T) *bench {
	testkit.CheckLeaks(t)
	m := &memory{whole: make(map[int][]byte)}
	return &bench{
		Config: Config{
			Parallel: 100, Connect: 10 * time.Second, Idle: 10 * time.Second,
			FirstBackOff: time.Millisecond, MaxRedirects: 5, UserAgent: "test",
		},
		ctx: t.Context(), lookup: resolve.System, out: m, memory: m,
	}
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
	loop, err := wire.New()
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	names := resolve.New(loop.Post, b.lookup, 10*time.Second)
	defer names.Close()
	var jobs []*Job
	for i, u := range urls {
		jobs = append(jobs, NewJob(i, u))
	}
	var results []*Result
	e := New(b.Config, loop, names, b.out, func(r *Result) { results = append(results, r) })
	err = e.Run(b.ctx, jobs)
	if loop.Open() != 0 {
		t.Errorf("%d connections are open after the run", loop.Open())
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

// addresses returns a Lookup that always returns list.
func addresses(list ...string) resolve.Lookup {
	return func(context.Context, string) ([]netip.Addr, error) {
		var addrs []netip.Addr
		for _, a := range list {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		return addrs, nil
	}
}
