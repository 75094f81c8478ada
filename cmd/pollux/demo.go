package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/demo"
)

const (
	maxRequests = 1_000_000
	maxDelay    = time.Hour
)

type demoCmd struct {
	Requests int           `short:"n" default:"20" help:"How many requests."`
	Delay    time.Duration `short:"d" default:"1s" help:"The longest that an answer takes; the others are spread below it."`
	Parallel int           `short:"p" default:"4000" help:"Connections open at once, at most."`
}

func (demoCmd) Help() string {
	return `Starts a slow HTTP server on the loopback address, then asks it with one goroutine that waits on one Poll, and prints each answer as it arrives.

Examples:

  pollux demo
  pollux demo --requests 2000 --delay 3s`
}

func (c *demoCmd) Run(ctx context.Context, std streams) error {
	err := demo.Run(ctx, demo.Config{Requests: c.Requests, Delay: c.Delay, Parallel: c.Parallel}, std.out)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(std.err, "pollux: interrupted")
	}
	return err
}
