package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/certs"
	"github.com/pollux-io/pollux/cmd/pollux/internal/fetch"
	"github.com/pollux-io/pollux/cmd/pollux/internal/limits"
	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
	"github.com/pollux-io/pollux/dns"
)

const (
	maxParallel  = 1 << 16
	firstBackOff = 250 * time.Millisecond
	// descriptorsEach counts the connection and the file.
	descriptorsEach = 2
)

type fetchCmd struct {
	URLs   []string `arg:"" optional:"" name:"url" help:"http and https URLs."`
	Input  string   `short:"i" placeholder:"FILE" help:"Read URLs from FILE too, one per line; - is standard input. Empty lines and lines that begin with # are ignored."`
	Output string   `short:"o" placeholder:"DIR" help:"Write each body to a file in DIR, named after its URL; existing files of that name are replaced. Without this flag, bodies are written to standard output, in the order of the URLs."`
	Head   bool     `short:"I" help:"Request only the heads (HEAD), and write those."`

	Parallel       int           `short:"p" default:"100" help:"Maximum number of URLs fetched at the same time."`
	Timeout        time.Duration `short:"t" default:"0s" help:"Time limit for one URL, with its redirects and retries; 0s: no limit."`
	ConnectTimeout time.Duration `default:"10s" help:"Time limit for the lookup of a name, for connecting, all its addresses together, and for the TLS handshake; 0s: no limit."`
	IdleTimeout    time.Duration `default:"30s" help:"Time limit without a byte from the server; 0s: no limit."`
	Retries        int           `short:"r" default:"2" help:"Number of retries after a transient failure: no connection, a broken connection, status 408, 429, 500, 502, 503 or 504. The pause before a retry doubles each time."`
	MaxRedirects   int           `default:"10" help:"Maximum number of redirects to follow."`

	CACert   string `name:"cacert" placeholder:"FILE" help:"Trust the certificates in FILE, in PEM format, instead of those of the system."`
	Insecure bool   `help:"Do not verify the certificates of https servers."`

	Quiet      bool `short:"q" help:"Print failures and warnings only."`
	NoProgress bool `help:"Print lines instead of a progress bar, also on a terminal."`
}

func (fetchCmd) Help() string {
	return `Fetches many URLs at the same time: one event loop does all network I/O, the lookup of names included. If a name has several addresses, they are tried a quarter of a second apart, IPv6 and IPv4 in turn, and the first that connects is used (RFC 8305). A URL that fails is reported by one line on standard error and does not stop the others; the exit status is then 1. If none of the URLs is valid (ftp://example.org/ or foo are not), the exit status is 2. A user name and a password before the host (http://user:password@example.org/) are sent only to that scheme, host and port, also after redirects, and are never printed. A file appears in DIR when it is complete. https is TLS 1.2 or 1.3; the certificate of the server must be valid for the host and signed by an authority that the system trusts, or one of --cacert. A redirect from https to http is followed, with a warning.

Examples:

  pollux fetch https://example.org/
  pollux fetch --cacert ca.pem https://127.0.0.1:8443/
  pollux fetch -o out http://example.org/a.txt http://example.org/b.txt
  pollux fetch -o out --input list.txt --parallel 500 --timeout 1m --retries 5
  generate-urls | pollux fetch --input - -o out`
}

func (c *fetchCmd) check() error {
	if strings.Contains(c.Output, "://") {
		return fmt.Errorf("--output %s: give a directory, not a URL; write --output out", redact.File(c.Output))
	}
	if c.CACert != "" && c.Insecure {
		return errors.New("--cacert has no effect with --insecure, which verifies no certificate; give one of them")
	}
	return nil
}

func (c *fetchCmd) Run(ctx context.Context, std streams) error {
	if err := c.check(); err != nil {
		return usageError{err}
	}
	roots, err := c.roots()
	if err != nil {
		return usageError{err}
	}
	jobs, err := readJobs(c.URLs, c.Input, std.in)
	if err != nil {
		return usageError{err}
	}
	if refused(jobs, std.err) {
		return usageError{errReported}
	}
	if c.Insecure {
		fmt.Fprintln(std.err, "pollux: --insecure: the certificates of https servers are not verified, so others may read and change what is sent and received")
	}
	if fit := limits.Fit(c.Parallel, descriptorsEach); fit < min(c.Parallel, len(jobs)) {
		fmt.Fprintf(std.err, "pollux: the limit on file descriptors allows %d URLs at the same time, not %d; pollux doctor shows how to raise it\n", fit, c.Parallel)
		c.Parallel = fit
	}
	d, err := newDelivery(c.Output, jobs, std)
	if err != nil {
		return fmt.Errorf("prepare the output: %w", err)
	}
	defer d.Close()
	return c.fetch(ctx, jobs, roots, d, std)
}

// roots returns the certificates of --cacert, or nil for those of the system.
func (c *fetchCmd) roots() (*x509.CertPool, error) {
	if c.CACert == "" {
		return nil, nil
	}
	roots, err := certs.LoadRoots(c.CACert)
	if err != nil {
		return nil, fmt.Errorf("--cacert: %w", err)
	}
	return roots, nil
}

// fetch runs the engine, and the reporting on a goroutine of its own, which may
// block on the terminal or on a file; results has capacity for every Result, so that
// the engine never blocks.
func (c *fetchCmd) fetch(ctx context.Context, jobs []*fetch.Job, roots *x509.CertPool, d *delivery, std streams) error {
	names, err := dns.New(dns.Config{})
	if err != nil {
		return err
	}
	defer names.Close()

	rep := c.reporter(len(jobs), d, std)
	cfg := c.config()
	cfg.Roots = roots
	if bar, ok := rep.(*report.Bar); ok {
		cfg.Received = bar.Received
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan *fetch.Result, len(jobs))
	engine, err := fetch.New(cfg, names, d.Output, func(r *fetch.Result) { results <- r })
	if err != nil {
		return err
	}
	reported := make(chan *tally, 1)
	go func() { reported <- reportResults(results, d, rep, cancel) }()

	start := time.Now()
	err = engine.Run(ctx, jobs)
	close(results)
	t := <-reported
	if t.writeErr != nil {
		err = fmt.Errorf("write to standard output: %w", t.writeErr)
	}
	if !c.Quiet && (len(jobs) > 1 || t.interrupted) && t.writeErr == nil {
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
		UserAgent: "pollux/" + version(), Insecure: c.Insecure,
	}
}

// reporter chooses how the run is reported. With files, successes are printed on standard
// output, which otherwise gets the bodies. There is no bar where a body would overwrite
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

// refused reports whether none of the URLs is valid, and then prints their errors.
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

// isTerminal reports whether w is a terminal on which a live line can be drawn.
func isTerminal(w io.Writer) bool { return report.Terminal(w) != nil }

// urls returns the URLs of jobs, after which files are named; nil for an invalid one.
func urls(jobs []*fetch.Job) []*url.URL {
	list := make([]*url.URL, len(jobs))
	for i, j := range jobs {
		list[i] = j.URL
	}
	return list
}
