package loop_test

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// The first turn of a loop is measured from its beginning, not from the year 1.
func TestSlowCallbackFirstTurn(t *testing.T) {
	var log lockedBuffer
	g := group(t, loop.Config{Loops: 32, SlowCallback: 4 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	var wg sync.WaitGroup
	for _, l := range g.Loops() {
		wg.Add(1)
		l.Run(func() {
			time.Sleep(1100 * time.Millisecond) // longer than the watchdog's tick, a quarter of the limit
			wg.Done()
		})
	}
	wg.Wait()
	if s := log.String(); s != "" {
		t.Errorf("named too soon:\n%s", s)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
