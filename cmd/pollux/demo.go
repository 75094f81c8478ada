package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/columns"
	"github.com/pollux-io/pollux/cmd/pollux/internal/demo"
)

const (
	maxRequests = 1_000_000
	maxDelay    = time.Hour
)

type demoCmd struct {
	Requests int           `short:"n" default:"0" help:"Number of requests; 0: as many as may be open at the same time."`
	Delay    time.Duration `short:"d" default:"1s" help:"Longest delay of an answer; the delays of the others are spread below it."`
	Parallel int           `short:"p" default:"10000" help:"Maximum number of open connections; the limit on file descriptors may allow fewer."`
	Each     bool          `help:"Print every answer as it arrives: token, delay, time, bytes."`
}

func (demoCmd) Help() string {
	return `Opens thousands of connections to a slow HTTP server on the loopback address, with one goroutine that waits on one Poll, and sends a request on each at the same time; each answer has a different delay. Then it does the same with net/http, and prints the figures side by side. The server and both clients are separate processes. "Memory each" is the memory that a connection adds to the process (without the kernel's buffers, which are the same for both).

Examples:

  pollux demo
  pollux demo --requests 2000 --delay 3s
  pollux demo -n 20 --each`
}

func (c *demoCmd) Run(ctx context.Context, std streams) error {
	err := demo.Run(ctx, demo.Config{
		Requests: c.Requests, Delay: c.Delay, Parallel: c.Parallel, Each: c.Each, Columns: columns.Of(std.out),
	}, std.out)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(std.err, "pollux: interrupted")
	}
	return err
}
