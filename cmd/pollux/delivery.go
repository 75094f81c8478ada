package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/fetch"
	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
	"github.com/pollux-io/pollux/cmd/pollux/internal/save"
)

// A delivery writes bodies to files in a directory, or to standard output: a single body
// as it is received, several in the order of their URLs.
type delivery struct {
	save.Output
	io.Closer
	dir   string   // empty: standard output
	names []string // in dir

	spool  *save.Spool
	stream *save.Stream
	shared io.Writer // standard error, if it and standard output are terminals
}

func newDelivery(dir string, jobs []*fetch.Job, std streams) (*delivery, error) {
	switch {
	case dir != "":
		names := save.Names(urls(jobs))
		files, err := save.NewDir(dir, names)
		if err != nil {
			return nil, err
		}
		return &delivery{Output: files, Closer: files, dir: dir, names: names}, nil
	case len(jobs) == 1:
		s := save.NewStream(std.out)
		d := &delivery{Output: s, Closer: io.NopCloser(nil), stream: s}
		if isTerminal(std.out) && isTerminal(std.err) {
			d.shared = std.err
		}
		return d, nil
	}
	spool, err := save.NewSpool(std.out, len(jobs))
	if err != nil {
		return nil, err
	}
	return &delivery{Output: spool, Closer: spool, spool: spool}, nil
}

// file returns the path of a job's body, or "" if it is written to standard output.
func (d *delivery) file(index int) string {
	if d.dir == "" {
		return ""
	}
	return filepath.Join(d.dir, d.names[index])
}

// ended writes the bodies whose turn it is now. The error is that of standard output.
func (d *delivery) ended(r *fetch.Result) error {
	switch {
	case d.spool != nil:
		return d.spool.Ended(r.Job.Index, r.Err == nil)
	case d.stream != nil:
		return d.stream.Err()
	}
	return nil
}

// breakLine begins a new line on the terminal if a body has ended in the middle of one, so
// that a message does not continue it.
func (d *delivery) breakLine() {
	if d.shared != nil && d.stream.InLine() {
		fmt.Fprintln(d.shared)
	}
}

// A tally counts how jobs ended.
type tally struct {
	done, failed int
	bytes        int64
	interrupted  bool
	writeErr     error // of standard output
}

// reportResults reports results as they arrive, and writes bodies in order. When standard
// output fails, such as a closed pipe, it ends the run.
func reportResults(results <-chan *fetch.Result, d *delivery, rep report.Reporter, cancel context.CancelFunc) *tally {
	defer rep.Close()
	t := &tally{}
	for r := range results {
		if r.Err != nil || r.Downgrade != nil {
			d.breakLine()
		}
		if fetch.Interrupted(r.Err) {
			t.interrupted = true
			continue
		}
		t.done++
		if r.Err != nil {
			t.failed++
		}
		t.bytes += r.Bytes
		if t.writeErr != nil {
			continue
		}
		if t.writeErr = d.ended(r); t.writeErr == nil {
			t.writeErr = rep.Result(r, d.file(r.Job.Index))
		}
		if t.writeErr != nil {
			cancel()
		}
	}
	return t
}

// summary is the last line.
func (t *tally) summary(total int, took time.Duration) string {
	s := report.Summary(total, t.done-t.failed, t.failed, t.bytes, took)
	if t.done < total {
		return "interrupted: " + s
	}
	return s
}
