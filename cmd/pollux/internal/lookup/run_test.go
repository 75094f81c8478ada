package lookup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/nameserver"
	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// attemptTimeout is that of the runner's resolver, which asks the server once.
const attemptTimeout = 5 * time.Second

// onRunner runs test in a bubble with a runner, whose only server gives answer.
func onRunner(t *testing.T, parallel int, answer nameserver.Answer, test func(r *Runner)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := looptest.New(t, looptest.Config{})
		server := network.Host(netip.MustParseAddr("10.0.0.53"))
		served := server.NewGroup(loop.Config{})
		addr, err := nameserver.Serve(served, "10.0.0.53:53", answer)
		if err != nil {
			t.Fatal(err)
		}
		g := network.Host(netip.MustParseAddr("10.0.0.1")).NewGroup(loop.Config{Loops: 2})
		none := filepath.Join(testkit.TempDir(t), "none")
		resolver, err := dns.New(dns.Config{
			Group: g, Servers: []netip.AddrPort{addr}, Timeout: attemptTimeout, Attempts: 1,
			ResolvConf: none, NSSwitch: none, Hosts: none,
		})
		if err != nil {
			t.Fatal(err)
		}
		test(&Runner{Resolver: resolver, Loops: g.Loops(), Parallel: parallel})
		resolver.Close()
		time.Sleep(attemptTimeout)
	})
}

// longList is the number of names in a long list: so many that a run must not read them in advance.
const longList = 20_000

// long is a list of names, "0.many." and so on. It counts those that were read.
type long struct{ names atomic.Int64 }

func (l *long) Read(b []byte) (int, error) {
	n := l.names.Add(1)
	if n > longList {
		return 0, io.EOF
	}
	return copy(b, fmt.Sprintf("%d.many.\n", n-1)), nil
}

// A list is read only as far as lookups have begun, of which there are Parallel at most; and the end
// of the context ends the run.
func TestListIsReadAsLookupsGoOn(t *testing.T) {
	for _, parallel := range []int{1, 50, 200} {
		var asked atomic.Int64
		silent := func(string, dns.Type) nameserver.Reply {
			asked.Add(1)
			return nameserver.Reply{Silent: true}
		}
		onRunner(t, parallel, silent, func(r *Runner) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(attemptTimeout/2, cancel)
			names := &long{}
			reported := 0
			begun, err := r.Run(ctx, &List{Input: names, Kinds: []Kind{Kind(dns.TypeA)}}, func(*Result, bool) error {
				reported++
				return nil
			})
			want := min(parallel, firstParallel)
			if !errors.Is(err, context.Canceled) || begun != want || reported != 0 {
				t.Errorf("%d of %d begun, %d reported, %v", begun, want, reported, err)
			}
			if n := asked.Load(); n != int64(want) {
				t.Errorf("parallel %d: the server was asked %d times", parallel, n)
			}
			if n := names.names.Load(); n > int64(want+100) {
				t.Errorf("parallel %d: %d names were read", parallel, n)
			}
		})
	}
}

// The lookups in progress grow from firstParallel to Parallel with the answers, and never exceed it; each name
// is reported once.
func TestParallel(t *testing.T) {
	const parallel = 300
	var inFlight, most atomic.Int64
	slow := func(string, dns.Type) nameserver.Reply {
		if n := inFlight.Add(1); n > most.Load() {
			most.Store(n)
		}
		return nameserver.Reply{Records: []nameserver.Record{nameserver.Address("192.0.2.1", 1)}, After: time.Second}
	}
	onRunner(t, parallel, slow, func(r *Runner) {
		seen := map[string]int{}
		start := time.Now()
		list := &List{Input: &long{}, Given: []string{"given."}, Kinds: []Kind{Kind(dns.TypeA)}}
		var failed error
		begun, err := r.Run(context.Background(), list, func(result *Result, _ bool) error {
			inFlight.Add(-1)
			seen[result.Name]++
			failed = errors.Join(failed, result.Err)
			if result.Took < time.Second {
				t.Errorf("%s took %v", result.Name, result.Took)
			}
			return nil
		})
		if err != nil || failed != nil || begun != longList+1 || len(seen) != begun {
			t.Errorf("%d begun, %d names, %v, %v", begun, len(seen), err, failed)
		}
		if n := most.Load(); n != parallel {
			t.Errorf("%d lookups at the same time, want %d", n, parallel)
		}
		// 64, 128, 256, and then 300 a second.
		if took, want := time.Since(start), time.Duration(3+(begun-448+parallel-1)/parallel)*time.Second; took < want || took > want+time.Second {
			t.Errorf("took %v, want %v", took, want)
		}
	})
}

// A result is reported as soon as it is there, whatever the order of the names.
func TestResultsInOrderOfTheirEnd(t *testing.T) {
	delays := map[string]time.Duration{"a.": 3 * time.Second, "b.": time.Second, "c.": 2 * time.Second}
	answer := func(name string, _ dns.Type) nameserver.Reply {
		return nameserver.Reply{Records: []nameserver.Record{nameserver.Address("192.0.2.1", 1)}, After: delays[name]}
	}
	onRunner(t, 10, answer, func(r *Runner) {
		start := time.Now()
		var order []string
		r.Run(context.Background(), &List{Given: []string{"a.", "b.", "c."}, Kinds: []Kind{Kind(dns.TypeA)}}, func(result *Result, _ bool) error {
			order = append(order, fmt.Sprintf("%s at %v", result.Name, time.Since(start).Round(time.Second)))
			return nil
		})
		if want := []string{"b. at 1s", "c. at 2s", "a. at 3s"}; !slices.Equal(order, want) {
			t.Errorf("%q, want %q", order, want)
		}
	})
}

// An error of the output ends the run at once.
func TestErrorOfReport(t *testing.T) {
	answer := func(string, dns.Type) nameserver.Reply {
		return nameserver.Reply{Records: []nameserver.Record{nameserver.Address("192.0.2.1", 1)}}
	}
	full := errors.New("full")
	onRunner(t, 10, answer, func(r *Runner) {
		reported := 0
		_, err := r.Run(context.Background(), &List{Input: &long{}, Kinds: []Kind{Addresses}}, func(*Result, bool) error {
			reported++
			return full
		})
		if !errors.Is(err, full) || reported != 1 {
			t.Errorf("%v after %d results", err, reported)
		}
	})
}

// The results that are there when the context ends are reported.
func TestResultsBeforeTheEnd(t *testing.T) {
	answer := func(name string, _ dns.Type) nameserver.Reply {
		return nameserver.Reply{Records: []nameserver.Record{nameserver.Address("192.0.2.1", 1)}, Silent: name == "silent."}
	}
	onRunner(t, firstParallel, answer, func(r *Runner) {
		ctx, cancel := context.WithCancel(context.Background())
		list := &List{Given: []string{"silent."}, Kinds: []Kind{Kind(dns.TypeA)}}
		for i := range firstParallel - 1 {
			list.Given = append(list.Given, fmt.Sprintf("name%d.", i))
		}
		reported := 0
		begun, err := r.Run(ctx, list, func(result *Result, more bool) error {
			if reported++; reported == 1 {
				time.Sleep(attemptTimeout / 2) // the others end meanwhile
				cancel()
			}
			if result.Err != nil || reported > 1 && more != (reported < firstParallel-1) {
				t.Errorf("result %d: %v, more %v", reported, result.Err, more)
			}
			return nil
		})
		if begun != firstParallel || reported != firstParallel-1 || !errors.Is(err, context.Canceled) {
			t.Errorf("%d begun, %d reported, %v", begun, reported, err)
		}
	})
}

// A list that cannot be read ends the run after the names before the error.
func TestErrorOfList(t *testing.T) {
	broken := errors.New("broken")
	answer := func(string, dns.Type) nameserver.Reply { return nameserver.Reply{Rcode: nameserver.NXDomain} }
	onRunner(t, 10, answer, func(r *Runner) {
		reported := 0
		list := &List{Input: io.MultiReader(strings.NewReader("a.\nb.\n"), failingReader{broken}), Kinds: []Kind{Addresses}}
		begun, err := r.Run(context.Background(), list, func(*Result, bool) error { reported++; return nil })
		if begun != 2 || reported != 2 || !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "line 3: ") {
			t.Errorf("%d begun, %d reported, %v", begun, reported, err)
		}
	})
}

type failingReader struct{ error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.error }
