package loop

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// logEvery and logBurst limit lines of one kind to logBurst in each logEvery. The next line
	// has the number of suppressed ones; if there is none, they are counted in a line when the
	// group ends.
	logEvery = 10 * time.Second
	logBurst = 10
)

// logs has a limiter for each kind of line of a group. Each listener and UDP socket has its own
// limiter, with a burst of one.
type logs struct {
	panics, slow, attaching, stalled limiter
}

func newLogs(to *slog.Logger) *logs {
	of := func(what string) limiter { return limiter{to: to, what: what, burst: logBurst} }
	return &logs{
		panics: of("panics"), slow: of("slow callbacks"), attaching: of("connections that could not be attached"),
		// The remedy in one line applies to all of them.
		stalled: limiter{to: to, what: "stalled connections", burst: 1},
	}
}

// flush logs the numbers of suppressed lines that no other line has reported.
func (s *logs) flush() {
	for _, l := range []*limiter{&s.panics, &s.slow, &s.attaching, &s.stalled} {
		l.flush()
	}
}

// A limiter limits the rate of log lines of one kind. It may be used from any goroutine. If its
// to is nil, it logs nothing.
type limiter struct {
	to    *slog.Logger
	what  string
	burst int

	mu         sync.Mutex
	began      time.Time // start of the interval
	lines      int       // in the interval
	suppressed int       // since the last line
}

func (l *limiter) warn(msg string, args ...any)  { l.log(slog.LevelWarn, msg, args) }
func (l *limiter) error(msg string, args ...any) { l.log(slog.LevelError, msg, args) }

// panicked logs a panic with the stack, which it takes only if the line is not suppressed: that
// is expensive.
func (l *limiter) panicked(msg string, v any) {
	if ok, suppressed := l.admit(time.Now()); ok {
		l.write(slog.LevelError, msg, []any{"panic", v, "stack", string(stackNow())}, suppressed)
	}
}

func (l *limiter) log(level slog.Level, msg string, args []any) {
	if ok, suppressed := l.admit(time.Now()); ok {
		l.write(level, msg, args, suppressed)
	}
}

func (l *limiter) write(level slog.Level, msg string, args []any, suppressed int) {
	if suppressed > 0 {
		args = append(args, "suppressed", suppressed)
	}
	l.to.Log(context.Background(), level, msg, args...)
}

// admit reports whether a line may be logged now, and how many were suppressed before it.
func (l *limiter) admit(now time.Time) (ok bool, suppressed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began.IsZero() || now.Sub(l.began) >= logEvery {
		l.began, l.lines = now, 0
	}
	if l.lines >= l.burst {
		l.suppressed++
		return false, 0
	}
	l.lines++
	suppressed, l.suppressed = l.suppressed, 0
	return true, suppressed
}

func (l *limiter) flush() {
	l.mu.Lock()
	n := l.suppressed
	l.suppressed = 0
	l.mu.Unlock()
	if n > 0 {
		l.to.Warn("pollux: more lines were suppressed", "of", l.what, "suppressed", n)
	}
}
