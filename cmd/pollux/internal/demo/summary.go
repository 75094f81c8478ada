package demo

import (
	"fmt"
	"strconv"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/columns"
	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
)

const (
	// leastEach: with fewer connections, the rest of the process uses more memory than they do.
	leastEach = 100
	// leastGain: a smaller gain over sequential requests is not printed.
	leastGain = 2
)

// summary prints the figures of both clients side by side.
func (d *demo) summary(ours, theirs *Figures) error {
	if err := d.printf("\n%-11s  %12s  %12s\n", "", "pollux/"+ours.Backend, "net/http"); err != nil {
		return err
	}
	row := func(name string, show func(*Figures) string) {
		d.printf("%-11s  %12s  %12s\n", name, show(ours), show(theirs))
	}
	row("answered in", func(f *Figures) string { return report.Round(f.Took).String() })
	row("connections", func(f *Figures) string { return count(f.Concurrent) })
	row("goroutines", func(f *Figures) string { return count(f.Goroutines) })
	row("threads", func(f *Figures) string { return count(f.Threads) })
	row("memory", func(f *Figures) string { return report.Bytes(f.Memory) })
	if ours.Concurrent >= leastEach && theirs.Concurrent >= leastEach {
		row("memory each", func(f *Figures) string { return report.Bytes(f.BytesEach) })
	}
	if theirs.Failed > 0 {
		d.text(fmt.Sprintf("net/http: %s of %s requests failed; the first: %s", count(theirs.Failed), count(theirs.Requests), theirs.Why))
	}
	if ours.Lowered {
		d.text("File descriptors or local ports ran out, so fewer connections were open than requested; pollux doctor shows which limits to raise.")
	}
	return d.text(sequentialTime(spread(d.config.Requests, d.config.Delay), ours.Took))
}

// sequentialTime returns a sentence with the time that the answers would take one after
// another, or "" if that is not much longer than took.
func sequentialTime(delays []time.Duration, took time.Duration) string {
	var sum time.Duration
	for _, d := range delays {
		sum += d
	}
	gain := float64(sum) / float64(max(took, 1))
	if gain < leastGain {
		return ""
	}
	times := fmt.Sprintf("%.1f", gain)
	if gain >= 10 {
		times = count(int(gain))
	}
	return fmt.Sprintf("One after another, the answers would take %v, %s times as long.", report.Round(sum), times)
}

// text prints s, wrapped to the width of the output.
func (d *demo) text(s string) error {
	for _, line := range columns.Wrap(s, d.config.Columns) {
		if err := d.printf("%s\n", line); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) printf(format string, a ...any) error {
	_, err := fmt.Fprintf(d.out, format, a...)
	return err
}

// count formats a number with separators: 1,234,567.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
