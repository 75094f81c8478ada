package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"time"
)

// server is the process of the server. A nil server is one that this program has not started, and
// does not measure.
type server struct {
	cmd  *exec.Cmd
	addr string
}

var addrOf = regexp.MustCompile(`listening at ([^ ,]+),`)

// startServer starts a build of examples/websocket on a free port. When ctx ends, it is killed.
func startServer(ctx context.Context, program string) (*server, error) {
	cmd := exec.CommandContext(ctx, program, "-listen", "127.0.0.1:0", "-stats", "0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	s := &server{cmd: cmd}
	in := bufio.NewReader(stderr)
	line, err := in.ReadString('\n')
	if match := addrOf.FindStringSubmatch(line); match != nil {
		s.addr = match[1]
		go io.Copy(os.Stderr, in)
		return s, nil
	}
	s.kill()
	return nil, fmt.Errorf("the server %s does not report where it listens, but %q, %w", program, line, err)
}

// interrupt asks the server to shut down.
func (s *server) interrupt() error { return s.cmd.Process.Signal(os.Interrupt) }

// wait waits for the server to end.
func (s *server) wait() error {
	if s == nil {
		return nil
	}
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("the server has ended: %w", err)
	}
	return nil
}

// kill ends the server, if it is running.
func (s *server) kill() {
	if s.cmd.ProcessState != nil {
		return
	}
	if err := s.cmd.Process.Kill(); err == nil || errors.Is(err, os.ErrProcessDone) {
		s.cmd.Wait()
	}
}

// usage is what a process has used: memory that is its own, in bytes, and processor time. It is zero
// if it is not known.
type usage struct {
	memory int64
	time   time.Duration
}

// usage returns what the server has used until now.
func (s *server) usage() usage {
	if s == nil {
		return usage{}
	}
	return usageOf(s.cmd.Process.Pid)
}

// memoryOf describes the memory for each of n connections, if it is known.
func (u usage) memoryOf(later usage, n int) string {
	if later.memory == 0 {
		return ""
	}
	return fmt.Sprintf("; server: %d bytes of memory (RssAnon) for each connection", (later.memory-u.memory)/int64(n))
}

// timeOf describes the processor time for each of n deliveries, if it is known.
func (u usage) timeOf(later usage, n int) string {
	if later.time == 0 {
		return ""
	}
	return fmt.Sprintf("; server: %.2f µs of CPU time for each delivery", float64((later.time-u.time).Nanoseconds())/1e3/float64(n))
}
