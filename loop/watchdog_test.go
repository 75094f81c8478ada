package loop_test

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// The first turn of a loop is measured from its beginning, not from the zero time.
func TestSlowCallbackFirstTurn(t *testing.T) { simulated(t, testSlowCallbackFirstTurn) }

func testSlowCallbackFirstTurn(t *testing.T) {
	var log testkit.Buffer
	g := group(t, loop.Config{Loops: 32, SlowCallback: 4 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	var wg sync.WaitGroup
	for _, l := range g.Loops() {
		wg.Add(1)
		l.Run(func() {
			time.Sleep(1100 * time.Millisecond) // longer than the watchdog's interval, a quarter of the limit
			wg.Done()
		})
	}
	wg.Wait()
	if s := log.String(); s != "" {
		t.Errorf("a callback was logged too early:\n%s", s)
	}
}

// The watchdog sleeps while the loops do, so that an idle process uses no processor time. It wakes
// up for a callback that blocks a loop, and measures it from its beginning.
func TestWatchdogSleeps(t *testing.T) { simulated(t, testWatchdogSleeps) }

func testWatchdogSleeps(t *testing.T) {
	const limit = 20 * time.Millisecond
	duration := regexp.MustCompile(`"for at least"=(\S+)`)
	var log testkit.Buffer
	g := group(t, loop.Config{Loops: 2, SlowCallback: limit, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for i, l := range g.Loops() {
		if !testkit.Eventually(g.WatchdogSleeps) {
			t.Fatal("the watchdog does not sleep")
		}
		time.Sleep(4 * limit)
		before := len(log.String())
		began := make(chan time.Time)
		release := make(chan bool)
		l.Run(func() { began <- time.Now(); <-release })
		at := <-began
		for {
			m := duration.FindStringSubmatch(log.String()[before:])
			if m == nil {
				time.Sleep(time.Millisecond)
				continue
			}
			if took, err := time.ParseDuration(m[1]); err != nil || took > time.Since(at) {
				t.Errorf("loop %d: the log has %s after %v (%v)", i, m[0], time.Since(at), err)
			}
			break
		}
		close(release)
	}
}

// An ended loop is not reported as blocked while other loops finish.
func TestNoSlowCallbackOfAnEndedLoop(t *testing.T) { simulated(t, testNoSlowCallbackOfAnEndedLoop) }

func testNoSlowCallbackOfAnEndedLoop(t *testing.T) {
	const limit = time.Second // a busy machine may preempt a loop for a while
	g := group(t, loop.Config{Loops: 2, SlowCallback: limit, Logger: failOnLog(t)})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, ln.Addr())
	ping(t, c) // one of the loops waits for this connection
	down := make(chan error, 1)
	go func() { down <- g.Shutdown(context.Background()) }()
	time.Sleep(2 * limit) // the watchdog gets the time to report it
	c.Close()
	if err := receive(t, down, "Shutdown"); err != nil {
		t.Error(err)
	}
	for i, l := range g.Stats().Loops {
		if l.SlowCallbacks != 0 {
			t.Errorf("loop %d: SlowCallbacks = %d, want 0", i, l.SlowCallbacks)
		}
	}
}

func TestSlowCallbackIsNamed(t *testing.T) {
	var log testkit.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	release := make(chan bool)
	g, c := serve(t, loop.Config{Loops: 1, SlowCallback: 10 * time.Millisecond, Logger: logger}, func(*loop.Conn) loop.Handler {
		return &funcs{data: func(_ *loop.Conn, b []byte) (int, error) { <-release; return len(b), nil }}
	})
	c.Write([]byte("x"))
	if !testkit.Eventually(func() bool {
		s := log.String()
		return strings.Contains(s, "blocks its loop") && strings.Contains(s, c.LocalAddr().String()) && strings.Contains(s, "*loop_test.funcs")
	}) {
		t.Fatalf("the log is %q, want a record with the handler's type and address", log.String())
	}
	if s := g.Stats(); s.Loops[0].SlowCallbacks == 0 {
		t.Errorf("SlowCallbacks = %d while the loop is blocked, want at least 1", s.Loops[0].SlowCallbacks)
	}
	close(release)
}

// passiveFuncs is a handler as package netconn has them.
type passiveFuncs struct{ funcs }

func (*passiveFuncs) Passive() {}

// While a loop stands still in a callback that runs no code of a user, nobody is advised to use Offload.
func TestSlowPassiveCallback(t *testing.T) {
	var log testkit.Buffer
	release := make(chan bool)
	_, c := serve(t, loop.Config{Loops: 1, SlowCallback: 10 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(*loop.Conn) loop.Handler {
		return &passiveFuncs{funcs{data: func(_ *loop.Conn, b []byte) (int, error) { <-release; return len(b), nil }}}
	})
	c.Write([]byte("x"))
	if !testkit.Eventually(func() bool {
		s := log.String()
		return strings.Contains(s, "the processors are busy") && strings.Contains(s, c.LocalAddr().String())
	}) {
		t.Errorf("the log is %q, want a record with the address", log.String())
	}
	close(release)
	if s := log.String(); strings.Contains(s, "Offload") {
		t.Errorf("the log is %q, which advises to use Offload", s)
	}
}

// Slow callbacks are counted, but not all of them are logged: lines are limited, and the number of
// those that were suppressed is logged. LongestCallback is no more than the longest.
func TestLogOfSlowCallbacksIsLimited(t *testing.T) {
	const limit, n = 4 * time.Millisecond, 15
	var log testkit.Buffer
	g := group(t, loop.Config{Loops: 1, SlowCallback: limit, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	l := g.Loops()[0]
	var longest time.Duration
	done := make(chan bool)
	for range n {
		l.Run(func() {
			began := time.Now()
			before := l.SlowCallbacks()
			if !testkit.Eventually(func() bool { return l.SlowCallbacks() > before }) {
				t.Error("a callback that blocks its loop is not counted")
			}
			longest = max(longest, time.Since(began))
			done <- true
		})
		receive(t, done, "a slow callback")
	}
	waitTurn(t, l)
	if err := g.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	s := g.Stats().Loops[0]
	lines := strings.Count(log.String(), "blocks its loop")
	if lines == 0 || lines >= n || int(s.SlowCallbacks) < n {
		t.Errorf("%d lines for %d slow callbacks of %d, want fewer lines, and all counted", lines, s.SlowCallbacks, n)
	}
	if want := fmt.Sprint("suppressed=", int(s.SlowCallbacks)-lines); !strings.Contains(log.String(), want) {
		t.Errorf("the log is %s, want a line with %s", log.String(), want)
	}
	if s.LongestCallback < limit || s.LongestCallback > longest {
		t.Errorf("LongestCallback = %v, want from the limit, %v, to the longest, %v", s.LongestCallback, limit, longest)
	}
}
