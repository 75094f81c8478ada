package serve

import (
	"strings"
	"testing"

	"github.com/pollux-io/pollux/cmd/pollux/internal/columns"
)

func TestFigures(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 999: "999", 1000: "1.0k", 1234567: "1.2M", 5e18: "5.0E", 5e22: "50000.0E"} {
		if got := count(n); got != want {
			t.Errorf("count(%v) = %s, want %s", n, got, want)
		}
	}
	if got := busy([]float64{0, 0.5, 1}); got != "0% 50% 100%" {
		t.Errorf("busy: %s", got)
	}
	if got := busy(make([]float64, maxBusyShown+1)); got != "0% to 0%" {
		t.Errorf("busy of many loops: %s", got)
	}
}

// The live line fits any terminal, with the most important figures first, and is complete
// if the terminal is wide enough.
func TestLiveLineFitsTheWidth(t *testing.T) {
	idle := &Figures{busy: make([]float64, 2)}
	active := &Figures{
		conns: 12345, accepts: 99999, messages: 123456789, bytesIn: 5 << 40, bytesOut: 7 << 40, unsent: 987 << 20,
		messageRate: 234567, inRate: 456 << 20, outRate: 567 << 20, busy: []float64{1, 0.99, 1, 0.5, 1, 1, 1, 1},
	}
	huge := &Figures{
		conns: 1 << 62, messages: 1 << 63, bytesIn: 1 << 62, bytesOut: 1 << 62, unsent: 1 << 62,
		messageRate: 1e18, inRate: 1 << 62, outRate: 1 << 62, busy: make([]float64, 1000),
	}
	for _, f := range []*Figures{idle, active, huge} {
		shownBefore := 0
		for width := range 201 {
			line := f.Fit(width)
			if columns.Width(line) > width {
				t.Errorf("%d columns: %d: %s", width, columns.Width(line), line)
			}
			if shown := strings.Count(line, separator); shown < shownBefore {
				t.Errorf("%d columns: %d figures, fewer than in a narrower line: %s", width, shown+1, line)
			} else {
				shownBefore = shown
			}
			if width >= 20 && !strings.Contains(line, " conn") {
				t.Errorf("%d columns: the connections are missing: %s", width, line)
			}
			if width >= 40 && f != huge && (!strings.Contains(line, "/s") || !strings.Contains(line, "queued")) {
				t.Errorf("%d columns: the rate or the queue is missing: %s", width, line)
			}
			if width >= 80 && f != huge && strings.Count(line, separator) != 5 {
				t.Errorf("%d columns: want all figures: %s", width, line)
			}
		}
		if got := f.Fit(1000); got != f.Line() {
			t.Errorf("with 1000 columns: %s, want %s", got, f.Line())
		}
	}
	if got, want := active.Fit(40), "12.3k conns, 234.6k msg/s, queued 987M"; got != want {
		t.Errorf("with 40 columns: %s, want %s", got, want)
	}
	for n, want := range map[float64]string{0: "0B", 999: "999B", 1000: "1.0K", 1023: "1.0K", 10 << 20: "10M", 1023 << 20: "1.0G", 1 << 62: "4.0E"} {
		if got := shortBytes(n); got != want {
			t.Errorf("%v bytes: %s, want %s", n, got, want)
		}
	}
}
