package demo

import (
	"fmt"
	"strconv"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/columns"
	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
)

const (
	// leastEach: with fewer connections, what else the process does is more than they take.
	leastEach = 100
	// leastGain: below it, together is not worth calling faster than one after another.
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
	row("connections", func(f *Figures) string { return count(f.AtOnce) })
	row("goroutines", func(f *Figures) string { return count(f.Goroutines) })
	row("threads", func(f *Figures) string { return count(f.Threads) })
	row("memory", func(f *Figures) string { return report.Bytes(f.Memory) })
	if ours.AtOnce >= leastEach && theirs.AtOnce >= leastEach {
		row("memory each", func(f *Figures) string { return report.Bytes(f.BytesEach) })
	}
	if theirs.Failed > 0 {
		d.text(fmt.Sprintf("net/http: %s of %s requests failed; the first: %s", count(theirs.Failed), count(theirs.Requests), theirs.Why))
	}
	if ours.Lowered {
		d.text("Descriptors or local ports ran out: fewer connections were open than there might have been; pollux doctor says what to raise.")
	}
	return d.text(oneAfterAnother(spread(d.config.Requests, d.config.Delay), ours.Took))
}

// oneAfterAnother compares with what the answers take one after another.
func oneAfterAnother(delays []time.Duration, took time.Duration) string {
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
	return fmt.Sprintf("One after another the answers take %v, %s times as long.", report.Round(sum), times)
}

// text prints a text in lines that fit the output.
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

// count is 1,234,567 for 1234567.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
