// Package demo demonstrates one goroutine with one Poll, which waits for thousands of
// slow answers at the same time. The slow server, the client with the Poll and the client
// with net/http are separate processes, so that each has its own figures and its own limit
// on descriptors.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/limits"
	"github.com/pollux-io/pollux/internal/sys"
)

const (
	// MaxConcurrent is the default number of simultaneous connections.
	MaxConcurrent = 10_000
	// wineConcurrent is the same under Wine, whose sockets are ten times as slow.
	wineConcurrent = 400
	// grace is how long, in addition to the longest delay, the client waits for an event.
	grace = 30 * time.Second
)

// A Config has the parameters of the demo.
type Config struct {
	Requests int           // 0: as many as may be open at the same time
	Delay    time.Duration // the longest
	Parallel int           // maximum number of open connections
	Each     bool          // print every answer as it arrives
	Columns  int           // width of the output
}

// A work is the task of a client, as it is passed to the client's process.
type work struct {
	Server   string
	Requests int
	Parallel int
	Delay    time.Duration
	Each     bool
}

// Run runs the demo and prints to out. The error reports a failure of the whole, or how many
// requests failed.
func Run(ctx context.Context, c Config, out io.Writer) error {
	why := c.fit()
	d := &demo{ctx: ctx, config: c, out: out}
	if err := d.run(why); err != nil {
		if ctx.Err() != nil { // it has killed the processes
			return ctx.Err()
		}
		return err
	}
	return nil
}

// fit sets Parallel and Requests, and returns the reason if a limit has lowered them.
func (c *Config) fit() (why string) {
	wanted := min(c.Parallel, MaxConcurrent)
	if c.Requests > 0 {
		wanted = min(c.Parallel, c.Requests)
	}
	if sys.OnWine() {
		wanted = min(wanted, wineConcurrent)
	}
	if fit := limits.Fit(wanted, 1); fit < wanted {
		wanted = fit
		why = " (the limit on file descriptors, ulimit -n, allows no more)"
	}
	c.Parallel = wanted
	if c.Requests == 0 {
		c.Requests = wanted
	}
	return why
}

// demo is one run.
type demo struct {
	ctx    context.Context
	config Config
	out    io.Writer
}

func (d *demo) run(why string) error {
	what := count(d.config.Requests) + " simultaneous connections"
	if d.config.Requests > d.config.Parallel {
		what = fmt.Sprintf("%s requests over %s simultaneous connections", count(d.config.Requests), count(d.config.Parallel))
	}
	if d.config.Requests == 1 {
		what = "1 connection"
	}
	err := d.text(fmt.Sprintf("%s%s to a slow server; its answers take up to %v.", what, why, d.config.Delay))
	if err != nil {
		return err
	}
	if d.config.Each {
		if err := d.printf("\n%7s  %10s  %10s  %7s\n", "token", "requested", "took", "bytes"); err != nil {
			return err
		}
	}
	ours, err := d.measure(pollClient)
	if err != nil {
		return err
	}
	if ours.Failed > 0 {
		return fmt.Errorf("%d of %d requests failed; the first: %s", ours.Failed, d.config.Requests, ours.Why)
	}
	d.config.Parallel = min(d.config.Parallel, max(ours.Concurrent, 1)) // descriptors may have run out
	theirs, err := d.measure(httpClient)
	if err != nil {
		return err
	}
	return d.summary(ours, theirs)
}

// measure runs one of the clients against a server of its own.
func (d *demo) measure(client role) (*Figures, error) {
	server, address, err := startServer(d.ctx)
	if err != nil {
		return nil, fmt.Errorf("start a slow server: %w", err)
	}
	defer server.stop()
	p, err := start(d.ctx, client, work{
		Server: address, Requests: d.config.Requests, Parallel: d.config.Parallel,
		Delay: d.config.Delay, Each: d.config.Each && client == pollClient,
	})
	if err != nil {
		return nil, err
	}
	defer p.stop()
	for {
		line, err := p.line()
		if err != nil {
			return nil, err
		}
		if line[0] != reportMark {
			if _, err := io.WriteString(d.out, line); err != nil {
				return nil, err
			}
			continue
		}
		f := &Figures{}
		if err := json.Unmarshal([]byte(line[1:]), f); err != nil {
			return nil, fmt.Errorf("read the figures of the %s client: %w", client, err)
		}
		if f.Error != "" {
			return nil, errors.New(f.Error)
		}
		return f, nil
	}
}

// isExhausted reports whether err means that no further connection can be opened while
// the others are open: descriptors or local ports have run out.
func isExhausted(err error) bool {
	return limits.Exhausted(err) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// Part is the first argument of a process of the demo. The program calls RunPart with the
// other arguments.
const Part = "demo-part"

// RunPart is the main function of such a process. It returns the exit status.
func RunPart(args []string) int {
	ignoreSignals()
	if len(args) != 2 {
		fmt.Fprintf(os.Stderr, "pollux: %s is for the demo's own use; write pollux demo\n", Part)
		return 2
	}
	var w work
	if err := json.Unmarshal([]byte(args[1]), &w); err != nil {
		fmt.Fprintf(os.Stderr, "pollux: %s: %v\n", Part, err)
		return 2
	}
	switch role(args[0]) {
	case slowServer:
		return reportFigures(nil, runServer(os.Stdin, os.Stdout))
	case pollClient:
		return reportFigures(runPollClient(w, os.Stdout))
	case httpClient:
		return reportFigures(runHTTPClient(w), nil)
	}
	fmt.Fprintf(os.Stderr, "pollux: %s: unknown part %q\n", Part, args[0])
	return 2
}

// reportFigures prints the figures, or the error, for the parent process.
func reportFigures(f *Figures, err error) int {
	if f == nil {
		f = &Figures{}
	}
	if err != nil {
		f.Error = err.Error()
	}
	if f.Error != "" || f.Requests > 0 {
		b, _ := json.Marshal(f)
		fmt.Printf("%c%s\n", reportMark, b)
	}
	if f.Error != "" {
		return 1
	}
	return 0
}
