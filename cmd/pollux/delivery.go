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

// A delivery is where bodies go: to files of a folder, or to standard output, there
// one as it comes or many in order.
type delivery struct {
	save.Output
	io.Closer
	dir   string   // empty: standard output
	names []string // in dir
	spool *save.Spool
}

func newDelivery(dir string, jobs []*fetch.Job, out io.Writer) (*delivery, error) {
	switch {
	case dir != "":
		names := save.Names(urls(jobs))
		files, err := save.NewDir(dir, names)
		if err != nil {
			return nil, err
		}
		return &delivery{Output: files, Closer: files, dir: dir, names: names}, nil
	case len(jobs) == 1:
		return &delivery{Output: save.Stream{W: out}, Closer: io.NopCloser(nil)}, nil
	}
	spool, err := save.NewSpool(out, len(jobs))
	if err != nil {
		return nil, err
	}
	return &delivery{Output: spool, Closer: spool, spool: spool}, nil
}

// file is where a job's body is.
func (d *delivery) file(index int) string {
	if d.dir == "" {
		return ""
	}
	return filepath.Join(d.dir, d.names[index])
}

// A tally counts how jobs ended.
type tally struct {
	done, failed int
	bytes        int64
	interrupted  bool
	lost         error // standard output cannot be written
}

// tell reports results as they come, and sends out bodies in order. When nobody
// reads them any more it ends the run.
func tell(results <-chan *fetch.Result, d *delivery, rep report.Reporter, cancel context.CancelCauseFunc) *tally {
	defer rep.Close()
	t := &tally{}
	for r := range results {
		if fetch.Interrupted(r.Err) {
			t.interrupted = true
			continue
		}
		t.done++
		if r.Err != nil {
			t.failed++
		}
		t.bytes += r.Bytes
		if t.lost != nil {
			continue
		}
		if d.spool != nil {
			t.lost = d.spool.Ended(r.Job.Index, r.Err == nil)
		}
		if t.lost != nil {
			cancel(fmt.Errorf("write to standard output: %w", t.lost))
			continue
		}
		rep.Result(r, d.file(r.Job.Index))
	}
	return t
}

// summary is the last line.
func (t *tally) summary(total int, took time.Duration) string {
	s := report.Summary(t.done, t.failed, t.bytes, took)
	if t.interrupted || t.done < total {
		s = fmt.Sprintf("interrupted, %d not ended: ", total-t.done) + s
	}
	return s
}
