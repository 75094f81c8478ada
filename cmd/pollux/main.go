// Pollux shows what the library does, fetches URLs and serves small protocols with it,
// and tells what a machine offers to it. Run "pollux --help".
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

// What the program exits with.
const (
	exitOK     = 0
	exitFailed = 1                                 // something was attempted and failed
	exitUsage  = 2                                 // nothing was attempted
	exitSignal = 128                               // and the signal's number, as shells have it
	exitPipe   = exitSignal + int(syscall.SIGPIPE) // nobody reads the output any more
)

const description = `Pollux is a portable event queue for Go.

Examples:

  pollux demo                                    10,000 slow answers, one goroutine
  pollux fetch -o out http://example.org/a.txt   a file from a server
  pollux fetch -o out --input list.txt -p 500    many, 500 at once
  pollux serve echo --listen :7000               a server, until Ctrl-C
  pollux doctor --connections 50000              is this machine fit for 50,000?

Exit status: 0 if all is well; 1 if something was attempted and failed; 2 if nothing was attempted, for wrong usage; 128 and its number if a signal cut the work short.`

type commands struct {
	Demo    demoCmd    `cmd:"" help:"Wait for many slow answers at once, with one goroutine."`
	Fetch   fetchCmd   `cmd:"" help:"Fetch http URLs, many at once."`
	Serve   serveCmd   `cmd:"" help:"Serve echo, discard or chargen, over TCP, UDP and Unix sockets."`
	Doctor  doctorCmd  `cmd:"" help:"Tell what this machine offers, and what to raise for many connections."`
	Version versionCmd `cmd:"" help:"Print the version."`
	Help    helpCmd    `cmd:"" help:"Show help on the program, or on a command."`

	ShowVersion versionFlag `name:"version" short:"V" help:"Print the version and exit."`
}

// helpCmd is only in the list of commands: run replaces it by the flag --help.
type helpCmd struct {
	Command string `arg:"" optional:"" help:"The command."`
}

// streams are the program's standard streams.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// signalled is why the program was told to end.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return s.String() }

// status is what to exit with.
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
	// The first signal ends the run cleanly; after it the second one kills, as if
	// none had been caught. SIGPIPE is taken so that writing to a closed pipe is an
	// error, and what was begun can be cleaned up.
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(signals, syscall.SIGHUP) // the terminal is gone; Windows never sends it
	}
	go func() {
		sig := <-signals
		signal.Stop(signals)
		if sig == os.Interrupt {
			report.EraseEcho(os.Stderr)
		}
		cancel(signalled{sig})
	}()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// run is the program. It returns what to exit with.
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

// redacted is an error on the arguments without what is secret in them.
func redacted(err error, args []string) error { return errors.New(redact.Arguments(err.Error(), args)) }

// arguments turns "help" into the flag that does it, and refuses a command that there
// is not.
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

// statusOf reports err, unless that has been done, and says what to exit with.
func statusOf(ctx context.Context, err error, std streams) int {
	var usage usageError
	var sig signalled
	switch {
	case err == nil:
		return exitOK
	case unread(err):
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

// errReported is a failure that has had its line already.
var errReported = errors.New("failed")
