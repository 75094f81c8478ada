package lookup

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
)

const (
	barWidth        = 40
	minBarWidth     = 5 // a narrower bar is left out
	progressRefresh = 100 * time.Millisecond
)

// A Progress is a live line on a terminal with the progress of a list. Text that is written to it appears above.
type Progress struct {
	*report.Live
	list         *List
	start        time.Time
	done, failed atomic.Int64
}

// NewProgress draws the line on a terminal.
func NewProgress(terminal *os.File, list *List) *Progress {
	p := &Progress{list: list, start: time.Now()}
	p.Live = report.NewLiveFunc(terminal, progressRefresh, func(width int) string { return p.line(width, time.Since(p.start)) })
	return p
}

// Count counts a result.
func (p *Progress) Count(r *Result) {
	p.done.Add(1)
	if r.Err != nil {
		p.failed.Add(1)
	}
}

// line returns the line, of at most width columns if the figures fit: the numbers of lookups, a bar if it is known how
// many there are, and the rate.
func (p *Progress) line(width int, took time.Duration) string {
	done := p.done.Load()
	text := fmt.Sprintf("%d resolved", done-p.failed.Load())
	if n := p.failed.Load(); n > 0 {
		text += fmt.Sprintf(", %d failed", n)
	}
	fraction, known := p.fraction(done)
	if known {
		text = fmt.Sprintf("%3.0f%% ", 100*fraction) + text
	}
	figures := fmt.Sprintf(" %6.0f/s %5s", float64(done)/max(took.Seconds(), 1e-3), took.Truncate(time.Second))
	room := min(width-len(text)-len(figures)-len(" []"), barWidth)
	if known && room >= minBarWidth {
		full := int(fraction * float64(room))
		text += " [" + strings.Repeat("=", full) + strings.Repeat("-", room-full) + "]"
	}
	return text + figures
}

// fraction returns which part of the list is done, if that is known.
func (p *Progress) fraction(done int64) (float64, bool) {
	if p.list.Input != nil {
		return p.list.Fraction()
	}
	all := len(p.list.Given) * len(p.list.Kinds)
	return float64(done) / float64(max(all, 1)), true
}
