// Pollux demonstrates the library, fetches URLs, resolves names and serves small protocols with it,
// and reports which backends and limits a machine has. Run "pollux --help".
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/pollux-io/pollux/cmd/pollux/internal/demo"
	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
)

// Exit statuses of the program.
const (
	exitOK     = 0
	exitFailed = 1                                 // something was attempted and failed
	exitUsage  = 2                                 // nothing was attempted
	exitSignal = 128                               // plus the signal's number, as in shells
	exitPipe   = exitSignal + int(syscall.SIGPIPE) // the reader of the output has closed the pipe
)

const description = `Pollux is a portable event queue for Go.

Examples:

  pollux demo                                    wait for 10,000 slow answers, one goroutine
  pollux fetch -o out http://example.org/a.txt   fetch a file
  pollux fetch -o out --input list.txt -p 500    fetch many files, 500 at a time
  pollux resolve example.org                     look up the addresses of a name
  pollux serve echo --listen :7000               run a server until Ctrl-C
  pollux serve http . --list                     serve the files of a directory
  pollux doctor --connections 50000              check the limits for 50,000 connections

Exit status: 0 on success; 1 if something was attempted and failed; 2 if nothing was attempted, because of wrong usage; 128 plus the number of the signal if a signal interrupted the work.`

type commands struct {
	Demo    demoCmd    `cmd:"" help:"Wait for many slow answers with one goroutine, and compare with net/http."`
	Fetch   fetchCmd   `cmd:"" help:"Fetch many http and https URLs at the same time."`
	Resolve resolveCmd `cmd:"" help:"Look up many names at the same time."`
	Serve   serveCmd   `cmd:"" help:"Serve echo, discard or chargen, over TCP, UDP and Unix sockets, or files over HTTP."`
	Doctor  doctorCmd  `cmd:"" help:"Report backends and limits of this machine, and what to raise for many connections."`
	Version versionCmd `cmd:"" help:"Print the version."`
	Help    helpCmd    `cmd:"" help:"Show help for the program or a command."`

	ShowVersion versionFlag `name:"version" short:"V" help:"Print the version and exit."`
}

// helpCmd is only listed among the commands: run replaces it by the flag --help.
type helpCmd struct {
	Command string `arg:"" optional:"" help:"The command."`
}

// streams are the program's standard streams.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// signalled is the error of a program that was ended by a signal.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return s.String() }

// status returns the exit status.
func (s signalled) status() int {
	if n, ok := s.Signal.(syscall.Signal); ok {
		return exitSignal + int(n)
	}
	return exitFailed
}

// usageError makes the program exit with exitUsage.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() {
	if len(os.Args) > 1 && os.Args[1] == demo.Part {
		os.Exit(demo.RunPart(os.Args[2:]))
	}
	// The first signal ends the run cleanly; a second one has its default effect and kills.
	// SIGPIPE is caught so that writing to a closed pipe is an error, and partial results
	// can be removed.
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signal.Notify(signals, syscall.SIGHUP) // the terminal was closed; Windows never sends it
	}
	hup := &hangup{signals: signals}
	ctx = withHangup(ctx, hup)
	go func() {
		sig := <-signals
		for sig == syscall.SIGHUP && hup.begin() {
			sig = <-signals
		}
		signal.Stop(signals)
		if sig == os.Interrupt {
			report.EraseEcho(os.Stderr)
		}
		cancel(signalled{sig})
	}()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// run runs the program and returns the exit status.
func run(ctx context.Context, args []string, std streams) (status int) {
	var c commands
	parser, err := kong.New(&c, kong.Name("pollux"), kong.Description(description),
		kong.Writers(std.out, std.err), kong.UsageOnError(),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(std))
	if err != nil {
		fmt.Fprintln(std.err, "pollux:", err)
		return exitFailed
	}
	applyRules(parser.Model)
	defer func() {
		switch code := recover().(type) {
		case nil:
		case exit: // after --help
			status = int(code)
		default:
			panic(code)
		}
	}()
	given := args
	if args, err = arguments(parser.Model, given); err != nil {
		complain(std, redacted(err, given))
		return exitUsage
	}
	command, err := parser.Parse(args)
	var shown versionShown
	switch {
	case errors.As(err, &shown):
		return statusOf(ctx, shown.error, std)
	case err != nil:
		complain(std, redacted(explain(parser.Model, args, err), given))
		return exitUsage
	}
	return statusOf(ctx, command.Run(), std)
}

// redacted returns err, an error about args, without the secrets in them.
func redacted(err error, args []string) error { return errors.New(redact.Arguments(err.Error(), args)) }

// arguments replaces "help" by the flag --help, and refuses an unknown command.
func arguments(app *kong.Application, args []string) ([]string, error) {
	if len(args) == 0 {
		return []string{"--help"}, nil
	}
	if strings.HasPrefix(args[0], "-") {
		return args, nil
	}
	if find(app, args[0]) == nil {
		return nil, unknownCommand(app, args[0])
	}
	if args[0] != "help" || len(args) > 1 && strings.HasPrefix(args[1], "-") {
		return args, nil
	}
	switch {
	case len(args) == 1:
		return []string{"--help"}, nil
	case find(app, args[1]) == nil:
		return nil, unknownCommand(app, args[1])
	case len(args) > 2:
		return nil, fmt.Errorf("help: unexpected argument %s; write pollux help %s", printableValue(args[2]), args[1])
	}
	return []string{args[1], "--help"}, nil
}

type exit int

// statusOf prints err, unless it was reported already, and returns the exit status.
func statusOf(ctx context.Context, err error, std streams) int {
	var usage usageError
	var sig signalled
	switch {
	case err == nil:
		return exitOK
	case isClosedPipe(err):
		return exitPipe
	case errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &sig):
		return sig.status()
	case errors.As(err, &usage):
		if !errors.Is(err, errReported) {
			complain(std, err)
		}
		return exitUsage
	case !errors.Is(err, errReported):
		complain(std, err)
	}
	return exitFailed
}

// complain prints err, redacted; the library's own errors begin with its name already.
func complain(std streams, err error) {
	fmt.Fprintln(std.err, "pollux:", redact.Text(strings.TrimPrefix(err.Error(), "pollux: ")))
}

// errReported is a failure that was printed already.
var errReported = errors.New("failed")
