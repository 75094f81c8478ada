package report

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/fetch"
)

const (
	barWidth    = 40
	minBarWidth = 5 // a narrower bar is left out
	barRefresh  = 100 * time.Millisecond
)

// A Bar reports with a progress bar, and prints the failures and warnings as lines above it.
type Bar struct {
	live     *Live
	total    int
	start    time.Time
	done     atomic.Int64
	received atomic.Int64
}

// NewBar draws a bar for total jobs on a terminal.
func NewBar(terminal *os.File, total int) *Bar {
	return newBar(terminal, func() int { return widthOf(terminal) }, total)
}

func newBar(out io.Writer, width func() int, total int) *Bar {
	b := &Bar{live: newLive(out, width), total: total, start: time.Now()}
	b.live.start(barRefresh, b.line)
	return b
}

// line returns the current line: the most important figures first, and the bar as wide as
// fits.
func (b *Bar) line() string {
	done := b.done.Load()
	text := fmt.Sprintf("%*d/%d %3d%%", len(strconv.Itoa(b.total)), done, b.total, 100*done/int64(max(b.total, 1)))
	figures := fmt.Sprintf("%10s %5s", Bytes(b.received.Load()), time.Since(b.start).Truncate(time.Second))
	width := min(b.live.Width()-len(text)-len(figures)-len(" []"), barWidth)
	if width >= minBarWidth {
		full := int(done) * width / max(b.total, 1)
		text += " [" + strings.Repeat("=", full) + strings.Repeat("-", width-full) + "]"
	}
	return text + figures
}

// Received counts bytes; it may be called from any goroutine.
func (b *Bar) Received(n int) { b.received.Add(int64(n)) }

// Result implements Reporter.
func (b *Bar) Result(r *fetch.Result, _ string) error {
	b.done.Add(1)
	if r.Downgrade != nil {
		fmt.Fprintln(b.live, Downgrade(r))
	}
	if r.Err != nil {
		fmt.Fprintln(b.live, Failure(r))
	}
	return nil
}

// Close implements Reporter. It draws the bar for the last time.
func (b *Bar) Close() { b.live.Close() }
