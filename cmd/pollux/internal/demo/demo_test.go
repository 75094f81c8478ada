package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/columns"
	"github.com/pollux-io/pollux/internal/testkit"
)

// The test binary is also the program that the demo starts as its processes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Part {
		os.Exit(RunPart(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// spread returns each delay once, from the shortest to the longest, unsorted.
func TestSpread(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 20, 77, 1000} {
		delays := spread(n, time.Second)
		sorted := slices.Sorted(slices.Values(delays))
		if n > 3 && slices.Equal(delays, sorted) {
			t.Errorf("spread(%d) is sorted", n)
		}
		if len(slices.Compact(sorted)) != n || sorted[len(sorted)-1] != time.Second {
			t.Errorf("spread(%d) = %v, want each delay once", n, delays)
		}
	}
	if d := spread(3, 0); !slices.Equal(d, make([]time.Duration, 3)) {
		t.Errorf("no delay: %v", d)
	}
}

var answerLine = regexp.MustCompile(`^ *\d+ +\S+ +\S+ +\d+$`)

// With Each, all answers are printed, also if not all connections may be open at the same
// time; without it, only the summary is printed.
func TestDemo(t *testing.T) {
	const requests = 300
	for _, c := range []Config{
		{Parallel: 1000, Each: true}, {Parallel: 7, Each: true}, {Parallel: requests},
	} {
		testkit.CheckLeaks(t)
		c.Requests, c.Delay, c.Columns = requests, 5*time.Millisecond, 80
		var out bytes.Buffer
		if err := Run(t.Context(), c, &out); err != nil {
			t.Fatal(err)
		}
		answers, others := 0, 0
		for line := range strings.Lines(out.String()) {
			if answerLine.MatchString(strings.TrimSpace(line)) {
				answers++
			} else {
				others++
			}
		}
		want, most := 0, maxSummary
		if c.Each {
			want, most = requests, maxSummary+2
		}
		if answers != want || others > most || strings.Contains(out.String(), "failed") {
			t.Errorf("%+v: %d answers and %d other lines\n%s", c, answers, others, &out)
		}
		if regexp.MustCompile(`(?m)^goroutines +1 +\S+$`).FindString(out.String()) == "" {
			t.Errorf("%+v: want one goroutine\n%s", c, &out)
		}
	}
}

// maxSummary is the maximum number of lines, without those of Each.
const maxSummary = 10

// No line is longer than the width of the output.
func TestDemoFitsTheWidth(t *testing.T) {
	testkit.CheckLeaks(t)
	var out bytes.Buffer
	if err := Run(t.Context(), Config{Requests: 120, Parallel: 120, Delay: 50 * time.Millisecond, Each: true, Columns: 40}, &out); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := columns.Width(strings.TrimSuffix(line, "\n")); n > 40 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// A gain is printed only if there is one.
func TestSequentialTime(t *testing.T) {
	second := time.Second
	for _, c := range []struct {
		delays []time.Duration
		took   time.Duration
		want   string
	}{
		{[]time.Duration{second}, second, ""},
		{[]time.Duration{second, second / 2}, second, ""},
		{make([]time.Duration, 100), time.Millisecond, ""},
		{make([]time.Duration, 100), 0, ""},
		{[]time.Duration{second, second, second}, second, "3s, 3.0 times"},
		{slices.Repeat([]time.Duration{second}, 5000), second, "1h23m20s, 5,000 times"},
	} {
		got := sequentialTime(c.delays, c.took)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%d delays in %v: %q, want %q", len(c.delays), c.took, got, c.want)
		}
	}
	testkit.CheckLeaks(t)
	var out bytes.Buffer
	err := Run(t.Context(), Config{Requests: 5, Parallel: 5, Columns: 80}, &out)
	if err != nil || strings.Contains(out.String(), "times") || strings.Contains(out.String(), "memory each") {
		t.Errorf("no delay: %v\n%s", err, &out)
	}
}

// If the server refuses connections, hangs up, or does not speak HTTP, each request fails,
// and the client ends.
func TestAllFail(t *testing.T) {
	testkit.CheckLeaks(t)
	for _, kind := range []string{"refused", "hangs up", "no HTTP"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var serving sync.WaitGroup
		if kind == "refused" {
			ln.Close()
		} else {
			serving.Go(func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					if kind == "no HTTP" {
						c.Read(make([]byte, 1000))
						io.WriteString(c, "nonsense\n")
					}
					c.Close()
				}
			})
		}
		w := work{Server: ln.Addr().String(), Requests: 20, Parallel: 20, Delay: time.Second}
		var out bytes.Buffer
		f, err := runPollClient(w, &out)
		if err != nil || f.Failed != w.Requests || f.Why == "" {
			t.Errorf("%s: %+v, %v", kind, f, err)
		}
		if f := runHTTPClient(w); f.Failed != w.Requests || f.Why == "" {
			t.Errorf("%s, net/http: %+v", kind, f)
		}
		ln.Close()
		serving.Wait()
	}
}

// The processes are ended when the demo is interrupted, and when the reader of its output
// has closed the pipe.
func TestInterrupt(t *testing.T) {
	testkit.CheckLeaks(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := writer(func(b []byte) (int, error) {
		cancel()
		return len(b), nil
	})
	c := Config{Requests: 5, Delay: time.Hour, Parallel: 5, Columns: 80}
	if err := Run(ctx, c, out); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v, want %v", err, context.Canceled)
	}
}

func TestClosedOutput(t *testing.T) {
	for _, each := range []bool{false, true} {
		testkit.CheckLeaks(t)
		lines := 0
		out := writer(func(b []byte) (int, error) {
			if lines++; lines > 2 || !each {
				return 0, syscall.EPIPE
			}
			return len(b), nil
		})
		c := Config{Requests: 50, Delay: time.Millisecond, Parallel: 5, Each: each, Columns: 80}
		if err := Run(t.Context(), c, out); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("each %v: %v, want %v", each, err, syscall.EPIPE)
		}
	}
}

// The error of the client's process about an unknown backend is returned.
func TestBadBackend(t *testing.T) {
	testkit.CheckLeaks(t)
	t.Setenv("POLLUX_BACKEND", "nonsense")
	err := Run(t.Context(), Config{Requests: 5, Parallel: 5, Columns: 80}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("%v", err)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %s, want %s", n, got, want)
		}
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
