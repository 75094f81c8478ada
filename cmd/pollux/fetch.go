package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/fetch"
	"github.com/pollux-io/pollux/cmd/pollux/internal/limits"
	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
	"github.com/pollux-io/pollux/cmd/pollux/internal/resolve"
	"github.com/pollux-io/pollux/cmd/pollux/internal/wire"
)

const (
	maxParallel  = 1 << 16
	firstBackOff = 250 * time.Millisecond
	// descriptorsEach: the connection and the file.
	descriptorsEach = 2
)

type fetchCmd struct {
	URLs   []string `arg:"" optional:"" name:"url" help:"http URLs."`
	Input  string   `short:"i" placeholder:"FILE" help:"Read URLs from FILE too, one a line; - is standard input. Empty lines, and those that begin with #, are passed over."`
	Output string   `short:"o" placeholder:"DIR" help:"Write each body to a file in DIR, named after its URL; files of that name are replaced; without it they go to standard output, in the order of the URLs."`
	Head   bool     `short:"I" help:"Ask for the heads alone, and write those."`

	Parallel       int           `short:"p" default:"100" help:"URLs under way at once."`
	Timeout        time.Duration `short:"t" default:"0s" help:"For one URL in all, redirects and retries included; 0s is no limit."`
	ConnectTimeout time.Duration `default:"10s" help:"For a look-up of a name, and for each address to connect."`
	IdleTimeout    time.Duration `default:"30s" help:"Without a byte from the server."`
	Retries        int           `short:"r" default:"2" help:"Further tries after a failure that may pass: no connection, a connection that breaks, status 408, 429, 500, 502, 503 or 504. The pause before them doubles."`
	MaxRedirects   int           `default:"10" help:"Redirects to follow."`

	Quiet      bool `short:"q" help:"Tell of failures only."`
	NoProgress bool `help:"Lines instead of a progress bar, also on a terminal."`
}

func (fetchCmd) Help() string {
	return `Fetches URLs, many at once: one goroutine with one Poll does all that goes over the network. A URL that fails gets one line on standard error and does not stop the others; the exit status is then 1. If no URL of all can be asked for, such as https://example.org/ or foo, it is 2. A user name and a password before the host (http://user:password@example.org/) are sent to that scheme, host and port alone, also after redirects, and are never printed. Files appear when they are whole. Only http is spoken, not yet https.

Examples:

  pollux fetch http://example.org/
  pollux fetch -o out http://example.org/a.txt http://example.org/b.txt
  pollux fetch -o out --input list.txt --parallel 500 --timeout 1m --retries 5
  generate-urls | pollux fetch --input - -o out`
}

func (c *fetchCmd) check() error {
	if strings.Contains(c.Output, "://") {
		return fmt.Errorf("--output %s: give a directory, not a URL; write --output out", redact.File(c.Output))
	}
	return nil
}

func (c *fetchCmd) Run(ctx context.Context, std streams) error {
	if err := c.check(); err != nil {
		return usageError{err}
	}
	jobs, err := readJobs(c.URLs, c.Input, std.in)
	if err != nil {
		return usageError{err}
	}
	if refused(jobs, std.err) {
		return usageError{errReported}
	}
	if fit := limits.Fit(c.Parallel, descriptorsEach); fit < min(c.Parallel, len(jobs)) {
		fmt.Fprintf(std.err, "pollux: the limit on descriptors allows %d at once, not %d; pollux doctor tells how to raise it\n", fit, c.Parallel)
		c.Parallel = fit
	}
	d, err := newDelivery(c.Output, jobs, std)
	if err != nil {
		return fmt.Errorf("prepare the output: %w", err)
	}
	defer d.Close()
	return c.fetch(ctx, jobs, d, std)
}

// fetch runs the engine on this goroutine and the reporting on another, which may
// block on the terminal or on a file; results has room for every Result, so that
// the engine does not.
func (c *fetchCmd) fetch(ctx context.Context, jobs []*fetch.Job, d *delivery, std streams) error {
	loop, err := wire.New()
	if err != nil {
		return err
	}
	defer loop.Close()
	names := resolve.New(loop.Post, resolve.System, c.ConnectTimeout)
	defer names.Close()

	rep := c.reporter(len(jobs), d, std)
	cfg := c.config()
	if bar, ok := rep.(*report.Bar); ok {
		cfg.Received = bar.Received
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan *fetch.Result, len(jobs))
	told := make(chan *tally, 1)
	go func() { told <- tell(results, d, rep, cancel) }()

	start := time.Now()
	err = fetch.New(cfg, loop, names, d.Output, func(r *fetch.Result) { results <- r }).Run(ctx, jobs)
	close(results)
	t := <-told
	if t.lost != nil {
		err = fmt.Errorf("write to standard output: %w", t.lost)
	}
	if !c.Quiet && (len(jobs) > 1 || t.interrupted) && t.lost == nil {
		fmt.Fprintln(std.err, "pollux: "+t.summary(len(jobs), time.Since(start)))
	}
	if err == nil && t.failed > 0 {
		err = errReported
	}
	return err
}

func (c *fetchCmd) config() fetch.Config {
	return fetch.Config{
		Parallel: c.Parallel, Head: c.Head,
		Connect: c.ConnectTimeout, Idle: c.IdleTimeout, Total: c.Timeout,
		Retries: c.Retries, FirstBackOff: firstBackOff, MaxRedirects: c.MaxRedirects,
		UserAgent: "pollux/" + version(),
	}
}

// reporter chooses how the run is told. With files, successes are told on standard
// output; otherwise bodies are there. There is no bar where a body would run into
// it.
func (c *fetchCmd) reporter(total int, d *delivery, std streams) report.Reporter {
	if !c.NoProgress && !c.Quiet && isTerminal(std.err) && (d.dir != "" || !isTerminal(std.out)) {
		return report.NewBar(std.err.(*os.File), total)
	}
	lines := &report.Lines{Err: std.err, Total: total}
	switch {
	case c.Quiet:
	case d.dir != "":
		lines.Out = std.out
	case total > 1:
		lines.Out = std.err
	}
	return lines
}

// refused reports whether none of the jobs can be attempted, and then prints why.
func refused(jobs []*fetch.Job, w io.Writer) bool {
	for _, j := range jobs {
		if j.Err == nil {
			return false
		}
	}
	for _, j := range jobs {
		fmt.Fprintln(w, report.Failure(&fetch.Result{Job: j, Err: j.Err}))
	}
	return true
}

// isTerminal reports whether w is a terminal with room to draw in.
func isTerminal(w io.Writer) bool { return report.Terminal(w) != nil }

// urls returns what there is to name files after.
func urls(jobs []*fetch.Job) []*url.URL {
	list := make([]*url.URL, len(jobs))
	for i, j := range jobs {
		list[i] = j.URL
	}
	return list
}
