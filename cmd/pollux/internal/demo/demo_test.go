package demo

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/leaktest"
	"github.com/pollux-io/pollux/cmd/pollux/internal/wire"
)

// Each delay comes once, from the shortest to the longest, in no order.
func TestSpread(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 20, 77, 1000} {
		delays := spread(n, time.Second)
		sorted := slices.Sorted(slices.Values(delays))
		if n > 3 && slices.Equal(delays, sorted) {
			t.Errorf("%d: in order", n)
		}
		if len(slices.Compact(sorted)) != n || sorted[len(sorted)-1] != time.Second {
			t.Errorf("%d: %v", n, delays)
		}
	}
	if d := spread(3, 0); !slices.Equal(d, make([]time.Duration, 3)) {
		t.Errorf("no delay: %v", d)
	}
}

// Answers are printed as they arrive, the first first, also when not all
// connections may be open at once.
func TestDemo(t *testing.T) {
	for _, parallel := range []int{1000, 3} {
		leaktest.Check(t)
		var out bytes.Buffer
		if err := Run(t.Context(), Config{Requests: 300, Delay: 5 * time.Millisecond, Parallel: parallel}, &out); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 300+5 || strings.Contains(out.String(), "failed") || !strings.Contains(lines[len(lines)-1], "One after another") {
			t.Errorf("%d lines, the last: %s", len(lines), lines[len(lines)-1])
		}
	}
}

// Where requests fail, or none was to take any time, nothing was faster than anything.
func TestNothingToCompare(t *testing.T) {
	leaktest.Check(t)
	var out bytes.Buffer
	if err := Run(t.Context(), Config{Requests: 5, Parallel: 5}, &out); err != nil || strings.Contains(out.String(), "as fast") {
		t.Errorf("no delay: %v\n%s", err, &out)
	}
	loop, err := wire.New()
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	out.Reset()
	r := &run{
		Config: Config{Requests: 5, Parallel: 5}, loop: loop, out: &out, delays: spread(5, time.Second),
		server: netip.MustParseAddrPort("127.0.0.1:0"), // nobody can be there
	}
	if err := r.run(); err == nil || strings.Contains(out.String(), "as fast") {
		t.Errorf("all failed: %v\n%s", err, &out)
	}
}

func TestInterrupt(t *testing.T) {
	leaktest.Check(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := writer(func(b []byte) (int, error) {
		cancel()
		return len(b), nil
	})
	if err := Run(ctx, Config{Requests: 5, Delay: time.Hour, Parallel: 5}, out); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// When nobody reads the output, the demo ends.
func TestClosedOutput(t *testing.T) {
	leaktest.Check(t)
	out := writer(func([]byte) (int, error) { return 0, syscall.EPIPE })
	if err := Run(t.Context(), Config{Requests: 5, Delay: time.Hour, Parallel: 5}, out); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("%v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
