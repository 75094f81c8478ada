package report

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// Live is a line on a terminal that is drawn again and again; what is written to it
// comes above. Its methods may be called from any goroutine.
type Live struct {
	progress *mpb.Progress
	bar      *mpb.Bar
	text     atomic.Pointer[string]
	terminal *os.File

	mu     sync.Mutex
	closed bool
}

// NewLive begins an empty line.
func NewLive(terminal *os.File, refresh time.Duration) *Live {
	l := &Live{terminal: terminal, progress: mpb.New(mpb.WithOutput(terminal), mpb.WithRefreshRate(refresh))}
	l.Show("")
	l.bar = l.progress.New(0, mpb.NopStyle(), mpb.PrependDecorators(
		decor.Any(func(decor.Statistics) string { return *l.text.Load() })))
	return l
}

// Show replaces the line.
func (l *Live) Show(text string) { l.text.Store(&text) }

// Write writes lines above; after Close, below.
func (l *Live) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.terminal.Write(b)
	}
	return l.progress.Write(b)
}

// Close draws the line for the last time. A second Close does nothing.
func (l *Live) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		l.bar.Abort(false)
		l.progress.Wait()
	}
}
