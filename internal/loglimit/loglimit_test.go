package loglimit

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// testLog is a Limiter and what it has logged. The tests run in synctest bubbles, so the clock
// advances only while they sleep.
type testLog struct {
	*testing.T
	Limiter
	out bytes.Buffer // slog's handler locks its writes
}

func newTestLog(t *testing.T, burst int) *testLog {
	l := &testLog{T: t}
	handler := slog.NewTextHandler(&l.out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	l.To, l.What, l.Burst = slog.New(handler), "tests", burst
	return l
}

// check compares the lines logged since the last call.
func (l *testLog) check(want ...string) {
	l.Helper()
	got := l.out.String()
	l.out.Reset()
	if w := strings.Join(append(want, ""), "\n"); got != w {
		l.Errorf("the log is\n%swant\n%s", got, w)
	}
}

// Burst lines are logged in each Interval. The next line has the number of the others.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestLog(t, 2)
		l.Warn("m", "n", 1)
		l.Error("m", "n", 2)
		l.Warn("m", "n", 3)
		l.Error("m", "n", 4)
		l.check("level=WARN msg=m n=1", "level=ERROR msg=m n=2")
		time.Sleep(Interval - time.Nanosecond)
		l.Warn("m", "n", 5)
		l.check()
		time.Sleep(time.Nanosecond)
		l.Warn("m", "n", 6)
		l.Warn("m", "n", 7)
		l.Warn("m", "n", 8)
		l.check("level=WARN msg=m n=6 suppressed=3", "level=WARN msg=m n=7")
	})
}

// An interval begins with the first line after the last interval, so that a burst is never
// followed by another one at once.
func TestIntervalBeginsWithALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestLog(t, 1)
		l.Warn("m", "n", 1)
		time.Sleep(2*Interval - time.Nanosecond)
		l.Warn("m", "n", 2)
		time.Sleep(2 * time.Nanosecond)
		l.Warn("m", "n", 3)
		l.check("level=WARN msg=m n=1", "level=WARN msg=m n=2")
	})
}

// Flush reports what no line has reported, once.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestLog(t, 1)
		l.Flush()
		l.Warn("m")
		l.Flush()
		l.check("level=WARN msg=m")
		l.Warn("m")
		l.Warn("m")
		l.Flush()
		l.Flush()
		l.check(`level=WARN msg="pollux: more lines were suppressed" of=tests suppressed=2`)
		time.Sleep(Interval)
		l.Warn("m")
		l.check("level=WARN msg=m")
	})
}

// A Line that was admitted reports what was suppressed before it.
func TestAdmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestLog(t, 1)
		line, ok := l.Admit()
		if !ok {
			t.Fatal("the first line was not admitted")
		}
		line.Error("m", "n", 1)
		if _, ok := l.Admit(); ok {
			t.Error("a line above the burst was admitted")
		}
		time.Sleep(Interval)
		if line, ok = l.Admit(); !ok {
			t.Fatal("no line was admitted in the next interval")
		}
		line.Error("m", "n", 2)
		l.check("level=ERROR msg=m n=1", "level=ERROR msg=m n=2 suppressed=1")
	})
}

// Lines of any goroutine are either logged or counted.
func TestConcurrentLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestLog(t, 3)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { l.Warn("m") })
		}
		all.Wait()
		l.Flush()
		line := "level=WARN msg=m"
		l.check(line, line, line, `level=WARN msg="pollux: more lines were suppressed" of=tests suppressed=47`)
	})
}
