package serve

import (
	"bytes"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"testing"
)

// Clients can cause no more than maxErrorLines lines in an interval; the next line has the number of the others. Failed
// handshakes are counted only.
func TestErrorLogIsBounded(t *testing.T) {
	var out bytes.Buffer
	l := &errorLog{logger: slog.New(slog.NewTextHandler(&out, nil)), tally: &tally{}}
	logger := log.New(l, "", 0)
	for i := range maxErrorLines + 5 {
		logger.Printf("http: TLS handshake error from 192.0.2.1:%d: EOF", i)
		logger.Printf("http: panic serving 192.0.2.1:%d: oops\nstack", i)
	}
	if n := strings.Count(out.String(), "\n"); n != maxErrorLines || strings.Contains(out.String(), "handshake") {
		t.Errorf("%d lines, want %d without handshakes\n%s", n, maxErrorLines, &out)
	}
	if n := l.tally.handshakeErrors.Load(); n != maxErrorLines+5 {
		t.Errorf("%d handshakes counted, want %d", n, maxErrorLines+5)
	}
	out.Reset()
	l.began = l.began.Add(-errorInterval)
	logger.Print("http: the next")
	if want := fmt.Sprintf(`error="the next" suppressed=%d`, 5); !strings.Contains(out.String(), want) {
		t.Errorf("%s, want %s", &out, want)
	}
}
