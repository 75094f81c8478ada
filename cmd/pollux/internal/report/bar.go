package report

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/pollux-io/pollux/cmd/pollux/internal/fetch"
)

const (
	barWidth   = 40
	barRefresh = 100 * time.Millisecond
)

// A Bar reports by a progress bar, with the failures as lines above it.
type Bar struct {
	progress *mpb.Progress
	bar      *mpb.Bar
	received atomic.Int64
}

// NewBar draws a bar for total jobs on a terminal.
func NewBar(terminal *os.File, total int) *Bar {
	b := &Bar{progress: mpb.New(mpb.WithOutput(terminal), mpb.WithWidth(barWidth), mpb.WithRefreshRate(barRefresh))}
	b.bar = b.progress.AddBar(int64(total),
		mpb.PrependDecorators(decor.CountersNoUnit("%d/%d ")),
		mpb.AppendDecorators(
			decor.Percentage(decor.WC{W: 5}),
			decor.Any(func(decor.Statistics) string { return Bytes(b.received.Load()) }, decor.WC{W: 12}),
			decor.Elapsed(decor.ET_STYLE_GO, decor.WC{W: 6}),
		),
	)
	return b
}

// Received counts bytes; it may be called from any goroutine.
func (b *Bar) Received(n int) { b.received.Add(int64(n)) }

// Result implements Reporter.
func (b *Bar) Result(r *fetch.Result, _ string) error {
	if r.Err != nil {
		fmt.Fprintln(b.progress, Failure(r))
	}
	b.bar.Increment()
	return nil
}

// Close implements Reporter. It draws the bar for the last time.
func (b *Bar) Close() {
	b.bar.Abort(false) // does nothing to a bar that is full
	b.progress.Wait()
}
