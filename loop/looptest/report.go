package looptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// SeedEnv names the environment variable whose value, a number from 0 to 2^64-1, replaces Config.Seed
// of every network of the process: to repeat the test that has failed with that seed.
const SeedEnv = "POLLUX_SEED"

// seedFromEnvironment returns the value of SeedEnv.
func seedFromEnvironment(t testing.TB) (seed uint64, ok bool) {
	t.Helper()
	s, ok := os.LookupEnv(SeedEnv)
	if !ok || s == "" {
		return 0, false
	}
	seed, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		t.Fatalf("looptest: %s is %q; it must be a number from 0 to 2^64-1", SeedEnv, s)
	}
	return seed, true
}

// end reports what the test has left open, closes the network, and logs what a failed test needs.
func (n *Network) end() {
	n.t.Helper()
	if n.limit != nil {
		n.limit.Stop()
	}
	if !n.t.Failed() { // a test that has failed may not have got as far as closing
		for range settleSteps {
			if n.open() == nil {
				break
			}
			n.pass(settleTime / settleSteps)
		}
		for _, what := range n.open() {
			n.t.Errorf("looptest: after the test, %s", what)
		}
	}
	n.net.Close()
	if trace := n.Trace(); trace != "" && n.t.Failed() {
		n.t.Logf("looptest: the seed was %d; to repeat: %[2]s=%[1]d go test -run '%[3]s'\n%[4]s", n.Seed(), SeedEnv, runPattern(n.t.Name()), trace)
	}
}

// runPattern returns the value of -run that selects one test. go test splits it at each slash, and matches
// each part separately.
func runPattern(name string) string {
	return "^" + strings.ReplaceAll(regexp.QuoteMeta(name), "/", "$/^") + "$"
}

// Sockets and groups are reported if they stay open for settleTime, on the network's clock: goroutines
// that close them may not have finished yet. It is waited for in settleSteps.
const (
	settleTime  = time.Second
	settleSteps = 100
)

// pass lets time pass on the network's clock.
func (n *Network) pass(d time.Duration) {
	if n.net.Manual() {
		n.net.Advance(d)
		return
	}
	time.Sleep(d)
}

// open returns a line for each socket and each group that is open.
func (n *Network) open() (all []string) {
	for _, h := range n.allHosts() {
		if loops := h.host.Loops(); loops > 0 {
			all = append(all, fmt.Sprintf("a group with %d loops runs on the host %v: end it with Shutdown", loops, h))
		}
		for _, s := range h.host.OpenSockets() {
			all = append(all, fmt.Sprintf("a socket is open on the host %v: %s", h, s))
		}
	}
	return all
}

// testEnded marks the place in the trace from which on segments come from the end of the test, not from the
// test itself.
func (n *Network) testEnded() {
	n.ended.Do(func() { n.Tracef("the test has ended: groups are shut down") })
}

// shutdown ends a group of NewGroup at once.
func (n *Network) shutdown(g *loop.Group) {
	n.t.Helper()
	n.testEnded()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var left *loop.ShutdownError
	if err := g.Shutdown(ctx); errors.As(err, &left) && left.Loops+left.Offloaded > 0 {
		n.t.Errorf("looptest: after the test: %v", err)
	}
}

// traceWriter adds each line of a logger to the trace.
type traceWriter struct{ n *Network }

func (w traceWriter) Write(line []byte) (int, error) {
	w.n.Tracef("log: %s", withStackLines(string(bytes.TrimSuffix(line, []byte("\n")))))
	return len(line), nil
}

// withStackLines returns a log record whose last attribute is the stack of a panic with that stack in lines
// of its own: slog quotes it.
func withStackLines(record string) string {
	i := strings.LastIndex(record, " stack=")
	if i < 0 {
		return record
	}
	stack, err := strconv.Unquote(record[i+len(" stack="):])
	if err != nil {
		return record
	}
	return record[:i] + " stack:\n" + strings.TrimSuffix(stack, "\n")
}

// withoutTime leaves out the time of log records: the trace has that of the network.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
