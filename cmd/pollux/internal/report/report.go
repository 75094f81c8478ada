// Package report prints the progress of a run: as lines, or as a progress bar on a
// terminal.
package report

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/fetch"
	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
)

// A Reporter reports each Result. One goroutine calls its methods.
type Reporter interface {
	// Result reports the result of a job; file is the file of its body, or "". The
	// error is that of the output on which successes are printed.
	Result(r *fetch.Result, file string) error
	// Close ends the report.
	Close()
}

// Lines reports a line for each Result: successes to Out, unless it is nil, and
// failures to Err, after a warning if a redirect has led from https to http.
type Lines struct {
	Out, Err io.Writer
	Total    int
	done     int
}

// Result implements Reporter.
func (l *Lines) Result(r *fetch.Result, file string) error {
	l.done++
	if r.Downgrade != nil {
		fmt.Fprintln(l.Err, Downgrade(r))
	}
	if r.Err != nil {
		fmt.Fprintln(l.Err, Failure(r))
		return nil
	}
	if l.Out == nil {
		return nil
	}
	line := fmt.Sprintf("%*d/%d  %d  %8s  %9s  %s", len(strconv.Itoa(l.Total)), l.done, l.Total,
		r.Status, Round(r.Took), Bytes(r.Bytes), redact.Text(r.Job.URL.String()))
	if r.URL.String() != r.Job.URL.String() {
		line += " => " + redact.Text(r.URL.String())
	}
	if file != "" {
		line += " -> " + file
	}
	_, err := fmt.Fprintln(l.Out, line)
	return err
}

// Close implements Reporter.
func (l *Lines) Close() {}

// Downgrade returns the warning about a redirect from https to http. It has no user name and no password.
func Downgrade(r *fetch.Result) string {
	return "pollux: " + redact.Text(r.Job.URL.String()) + ": warning: it was redirected from https to " + redact.Text(r.Downgrade.String()) +
		", so others may have read and changed the answer"
}

// Failure returns the line about a failed job. It has no user name and no password.
func Failure(r *fetch.Result) string {
	name := strconv.Quote(r.Job.Text)
	if r.Job.URL != nil {
		name = redact.Text(r.Job.URL.String())
	}
	s := "pollux: " + name + ": " + r.Err.Error()
	if r.Tries > 1 {
		s += fmt.Sprintf(" (%d tries in %s)", r.Tries, Round(r.Took))
	}
	return s
}

// Summary returns the last line of a run.
func Summary(total, fetched, failed int, bytes int64, took time.Duration) string {
	s := fmt.Sprintf("%d of %d fetched, %s in %s", fetched, total, Bytes(bytes), Round(took))
	if failed > 0 {
		s += fmt.Sprintf("; %d failed", failed)
	}
	return s
}

// Round rounds a time to three or four digits.
func Round(d time.Duration) time.Duration {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// Bytes formats n with a suitable unit.
func Bytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, u := float64(n)/1024, 0
	for f >= 1024 {
		f /= 1024
		u++
	}
	return fmt.Sprintf("%.1f %ciB", f, units[u])
}
