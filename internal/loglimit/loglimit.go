// Package loglimit limits the rate of log lines that a peer, or a fault that lasts, may cause.
package loglimit

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// Interval is the time in which a Limiter admits no more lines than its Burst.
	Interval = 10 * time.Second
	// Burst is the usual number for a kind of line of a whole group of loops.
	Burst = 10
)

// A Limiter limits the rate of log lines of one kind: it admits Burst lines in each Interval. The
// next line has the number of those that were suppressed since the last one; Flush logs the
// number if there is no next line. The exported fields must be set before the first call. All
// methods may be called from any goroutine.
type Limiter struct {
	To    *slog.Logger
	What  string // plural: what the suppressed lines are about, for Flush
	Burst int

	mu         sync.Mutex
	began      time.Time // start of the interval
	lines      int       // in the interval
	suppressed int       // since the last line
}

// Debug logs a line at level Debug, or suppresses it. If the logger does not log that level, it counts nothing.
func (l *Limiter) Debug(msg string, args ...any) {
	if l.To.Enabled(context.Background(), slog.LevelDebug) {
		l.log(slog.LevelDebug, msg, args)
	}
}

// Warn logs a line at level Warn, or suppresses it.
func (l *Limiter) Warn(msg string, args ...any) { l.log(slog.LevelWarn, msg, args) }

// Error logs a line at level Error, or suppresses it.
func (l *Limiter) Error(msg string, args ...any) { l.log(slog.LevelError, msg, args) }

func (l *Limiter) log(level slog.Level, msg string, args []any) {
	if line, ok := l.Admit(); ok {
		line.log(level, msg, args)
	}
}

// A Line is permission to log one line.
type Line struct {
	to         *slog.Logger
	suppressed int
}

// Admit reports whether a line may be logged now. It is for lines whose arguments are expensive:
// the caller computes them only if ok is true, and then calls line.Error.
func (l *Limiter) Admit() (line Line, ok bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began.IsZero() || now.Sub(l.began) >= Interval {
		l.began, l.lines = now, 0
	}
	if l.lines >= l.Burst {
		l.suppressed++
		return Line{}, false
	}
	l.lines++
	line = Line{l.To, l.suppressed}
	l.suppressed = 0
	return line, true
}

// Error logs the line at level Error.
func (l Line) Error(msg string, args ...any) { l.log(slog.LevelError, msg, args) }

func (l Line) log(level slog.Level, msg string, args []any) {
	if l.suppressed > 0 {
		args = append(args, "suppressed", l.suppressed)
	}
	l.to.Log(context.Background(), level, msg, args...)
}

// Flush logs the number of suppressed lines that no other line has reported, if there are any.
func (l *Limiter) Flush() {
	l.mu.Lock()
	n := l.suppressed
	l.suppressed = 0
	l.mu.Unlock()
	if n > 0 {
		l.To.Warn("pollux: more lines were suppressed", "of", l.What, "suppressed", n)
	}
}
