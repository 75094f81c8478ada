package serve

import (
	"bytes"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxErrorLines is how many lines are logged in each errorInterval: clients can cause them.
	maxErrorLines = 10
	errorInterval = 10 * time.Second
)

// errorLog logs what package net/http reports. Failed handshakes are only counted: on a public address
// most of them are those of scanners.
type errorLog struct {
	logger *slog.Logger
	tally  *tally

	mu         sync.Mutex
	began      time.Time // of the interval
	lines      int       // in the interval
	suppressed int       // since the last line
}

// Write implements io.Writer, for one message of package log.
func (l *errorLog) Write(b []byte) (int, error) {
	message := bytes.TrimPrefix(bytes.TrimSpace(b), []byte("http: "))
	if bytes.HasPrefix(message, []byte("TLS handshake error")) {
		l.tally.handshakeErrors.Add(1)
		return len(b), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.began) >= errorInterval {
		l.began, l.lines = now, 0
	}
	if l.lines++; l.lines > maxErrorLines {
		l.suppressed++
		return len(b), nil
	}
	args := []any{"error", string(message)}
	if l.suppressed > 0 {
		args = append(args, "suppressed", l.suppressed)
		l.suppressed = 0
	}
	l.logger.Warn("pollux: http", args...)
	return len(b), nil
}
