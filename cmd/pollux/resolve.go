package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/lookup"
	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/loop"
)

const (
	maxAttempts = 100
	maxServers  = 64
	// resolveLoops is enough: parsing responses takes less time than printing the answers.
	resolveLoops = 1
	// resolveShutdown is how long the loops have to close their sockets.
	resolveShutdown = time.Second
)

var strategies = map[string]dns.Strategy{"auto": dns.Auto, "inline": dns.Inline, "evented": dns.Evented, "pool": dns.Pool}

var strategyNames = []string{"auto", "inline", "evented", "pool"}

type resolveCmd struct {
	Names    []string      `arg:"" optional:"" name:"name" help:"Names; with --type PTR also IP addresses."`
	Input    string        `short:"i" placeholder:"FILE" help:"Read names from FILE too, one per line; - is standard input. Empty lines and lines that begin with # are ignored."`
	Type     []string      `short:"t" sep:"none" placeholder:"TYPE" help:"Types of records to look up, each by itself: A, AAAA, CNAME, SRV, MX, TXT, PTR, NS, SOA, or TYPE and a number, such as TYPE65; separated by commas, or by several flags. Without it, A and AAAA together (A+AAAA), in the order in which to connect."`
	Server   []string      `short:"s" sep:"none" placeholder:"HOST:PORT" help:"Ask this server instead of those of resolv.conf: an IP address, with a port unless that is 53. Give the flag again for more servers."`
	Strategy string        `default:"auto" help:"How to look up names that are neither literal nor in the hosts file: auto, inline (not at all), evented (DNS servers), or pool (the system's resolver; for addresses only)."`
	Timeout  time.Duration `default:"0s" help:"Time limit for one attempt at one server; 0s: that of resolv.conf, or else 5s. The system's resolver has its own."`
	Attempts int           `default:"0" help:"How often each server is asked; 0: as resolv.conf has it, or else 2."`

	Parallel   int  `short:"p" default:"100" help:"Maximum number of lookups at the same time."`
	JSON       bool `name:"json" help:"Print one JSON object per line for each name and type, also for failures; the names of its fields are stable."`
	Trace      bool `help:"Print how each answer was found, and the attempts that failed."`
	Quiet      bool `short:"q" help:"Print neither progress nor a summary."`
	NoProgress bool `help:"Print no progress, also on a terminal."`
}

func (resolveCmd) Help() string {
	return `Looks up many names at the same time, on one event loop. Each answer is a line: the name, the type, the TTL in seconds (-: not known), the data, and where it comes from. It is printed as soon as it is there, so the order of the lines is not that of the names. A list may have any number of names: it is read as the lookups go on. A name that fails is reported by one line on standard error, or with --json by an object on standard output, and does not stop the others; the exit status is then 1.

Examples:

  pollux resolve example.org
  pollux resolve --type MX,TXT example.org
  pollux resolve --type PTR 192.0.2.1 2001:db8::1
  pollux resolve --server 192.0.2.53 --server [2001:db8::53]:5353 --trace example.org
  pollux resolve --input list.txt --parallel 1000 --json > answers.json
  pollux resolve --json --input list.txt | jq -r 'select(.cause == "nxdomain").name'`
}

// A resolveRun is what the flags demand.
type resolveRun struct {
	config dns.Config
	list   *lookup.List
	close  func() error // of the list
}

// prepare checks the flags, and opens the list.
func (c *resolveCmd) prepare(in io.Reader) (*resolveRun, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	kinds, invalid, err := lookup.ParseKinds(elements(c.Type))
	if err != nil {
		return nil, badFlag("--type", invalid, err, rules["resolve type"])
	}
	run := &resolveRun{config: config, list: &lookup.List{Given: c.Names, Kinds: kinds}, close: func() error { return nil }}
	switch c.Input {
	case "":
		if len(c.Names) == 0 {
			return nil, errors.New("no name: give one like example.org, or a list with --input FILE")
		}
		return run, nil
	case "-":
		run.list.Input = in
	default:
		f, err := os.Open(c.Input)
		if err != nil {
			var path *fs.PathError
			if errors.As(err, &path) {
				err = path.Err // without the name, which may be a URL given by mistake
			}
			return nil, c.listError(err)
		}
		run.list.Input, run.close = f, f.Close
	}
	run.list.Measure()
	return run, nil
}

func (c *resolveCmd) listError(err error) error {
	return fmt.Errorf("read the list of names in %s: %w", redact.File(c.Input), err)
}

// badFlag returns the error of a flag whose value is invalid for a reason that its rule does not know.
func badFlag(flag, value string, reason error, r rule) error {
	return &flagError{flag, value, reason.Error(), r.text, flag + " " + r.example}
}

func (c *resolveCmd) config() (dns.Config, error) {
	config := dns.Config{Timeout: c.Timeout, Attempts: c.Attempts}
	var ok bool
	if config.Strategy, ok = strategies[c.Strategy]; !ok {
		return config, badFlag("--strategy", c.Strategy, errors.New("unknown strategy"), rules["resolve strategy"])
	}
	for _, text := range elements(c.Server) {
		s, err := lookup.ParseServer(text)
		if err != nil {
			return config, badFlag("--server", text, err, rules["resolve server"])
		}
		if !slices.Contains(config.Servers, s) {
			config.Servers = append(config.Servers, s)
		}
	}
	switch {
	case len(config.Servers) > maxServers:
		return config, fmt.Errorf("--server: give at most %d servers", maxServers)
	case len(config.Servers) > 0 && !asksServers(config.Strategy):
		return config, fmt.Errorf("--strategy %s does not ask the servers of --server; write --strategy evented", c.Strategy)
	}
	return config, nil
}

// elements splits values at commas. An empty value is an element: with that of a variable that is not set, a flag must not
// have the meaning of no flag.
func elements(values []string) (list []string) {
	for _, v := range values {
		list = append(list, strings.Split(v, ",")...)
	}
	return list
}

// asksServers reports whether a strategy asks DNS servers for addresses.
func asksServers(s dns.Strategy) bool { return s == dns.Auto || s == dns.Evented }

func (c *resolveCmd) Run(ctx context.Context, std streams) error {
	run, err := c.prepare(std.in)
	if err != nil {
		return usageError{err}
	}
	defer run.close()
	g, err := loop.NewGroup(loop.Config{Loops: resolveLoops})
	if err != nil {
		return err
	}
	run.config.Group = g
	r, err := dns.New(run.config)
	defer func() {
		if r != nil {
			r.Close()
		}
		ctx, cancel := context.WithTimeout(context.Background(), resolveShutdown)
		defer cancel()
		g.Shutdown(ctx)
	}()
	if err != nil {
		return err
	}
	return c.resolve(ctx, &lookup.Runner{Resolver: r, Loops: g.Loops(), Parallel: c.Parallel, Explain: c.Trace}, run.list, std)
}

// resolve looks up the names, and prints the answers and the summary.
func (c *resolveCmd) resolve(ctx context.Context, runner *lookup.Runner, list *lookup.List, std streams) error {
	progress := c.progress(list, std)
	stderr := std.err
	if progress != nil {
		defer progress.Close()
		stderr = progress
	}
	printer := c.printer(runner, list, std.out, stderr)
	start, resolved, failed := time.Now(), 0, 0
	var writeErr error
	begun, err := runner.Run(ctx, list, func(r *lookup.Result, more bool) error {
		if r.Err != nil {
			failed++
		} else {
			resolved++
		}
		if progress != nil {
			progress.Count(r)
		}
		if writeErr = printer.Result(r); writeErr == nil && !more {
			writeErr = printer.Flush()
		}
		return writeErr
	})
	if writeErr == nil {
		writeErr = printer.Flush()
	}
	if progress != nil {
		progress.Close()
	}
	return c.finish(ctx, err, writeErr, tally{done: resolved + failed, failed: failed}, begun, time.Since(start), std)
}

// finish prints the summary of a run that has ended with err, and returns the error of the command.
func (c *resolveCmd) finish(ctx context.Context, err, writeErr error, t tally, begun int, took time.Duration, std streams) error {
	if writeErr != nil {
		return fmt.Errorf("write to standard output: %w", writeErr)
	}
	interrupted := ctx.Err() != nil && errors.Is(err, ctx.Err())
	if begun == 0 && !interrupted {
		if err == nil {
			err = errors.New("there is no name: give one per line, like example.org")
		}
		return usageError{c.listError(err)}
	}
	if !c.Quiet && (begun > 1 || interrupted) {
		s := lookup.Summary(t.done-t.failed, begun, took)
		if t.failed > 0 {
			s += fmt.Sprintf("; %d failed", t.failed)
		}
		if interrupted {
			s = "interrupted: " + s
		}
		fmt.Fprintln(std.err, "pollux: "+s)
	}
	switch {
	case interrupted:
		return err
	case err != nil:
		return c.listError(err)
	case t.failed > 0:
		return errReported
	}
	return nil
}

// progress returns a live line if standard error is a terminal, and the answers do not appear there.
func (c *resolveCmd) progress(list *lookup.List, std streams) *lookup.Progress {
	many := list.Input != nil || len(list.Given)*len(list.Kinds) > 1
	if c.Quiet || c.NoProgress || !many || !isTerminal(std.err) || isTerminal(std.out) {
		return nil
	}
	return lookup.NewProgress(std.err.(*os.File), list)
}

func (c *resolveCmd) printer(runner *lookup.Runner, list *lookup.List, out, err io.Writer) lookup.Printer {
	var trace func(*lookup.Result) *lookup.Trace
	if c.Trace {
		trace = lookup.TraceOf
	}
	if c.JSON {
		return lookup.NewJSON(out, trace)
	}
	return lookup.NewText(out, err, lookup.NameWidth(list.Given, list.Input != nil), trace)
}
