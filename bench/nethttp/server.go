package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/bench/internal/proc"
)

const (
	serverCPU, loadCPU = "0", "1"
	patience           = 5 * time.Second
)

// server is a process of netconnecho.
type server struct {
	cmd  *exec.Cmd
	addr string
}

var (
	servers  []*server
	nextPort = 22_000 + os.Getpid()%5_000
)

// start starts a server, and waits until it accepts connections.
func start(program string, pinned bool, flags []string) *server {
	nextPort++
	s := &server{addr: fmt.Sprintf("127.0.0.1:%d", nextPort)}
	s.cmd = command(pinned, serverCPU, program, append(flags, "-listen", s.addr)...)
	s.cmd.Stderr = os.Stderr
	if pinned {
		s.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	}
	if err := s.cmd.Start(); err != nil {
		fatal("%v; build it: go build -o %s ./bench/netconnecho", err, filepath.Dir(program))
	}
	servers = append(servers, s)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", s.addr); err == nil {
			c.Close()
			return s
		}
	}
	fatal("%v does not answer within %v", s.cmd, patience)
	return nil
}

// command returns a command that runs on one processor, if it is pinned.
func command(pinned bool, cpu, program string, args ...string) *exec.Cmd {
	if pinned {
		return exec.Command("taskset", append([]string{"-c", cpu, program}, args...)...)
	}
	return exec.Command(program, args...)
}

func stopAll() {
	for _, s := range servers {
		s.cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(time.Second, func() { s.cmd.Process.Kill() })
		s.cmd.Wait()
		kill.Stop()
	}
	servers = nil
}

func (s *server) cpuNanos() int64 {
	n, err := proc.CPUNanos(s.cmd.Process.Pid)
	check(err)
	return n
}

// systemCalls returns how many system calls a request takes, or why that is unknown.
func (s *server) systemCalls(pinned bool) string {
	perf := exec.Command("perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", fmt.Sprint(s.cmd.Process.Pid))
	var out strings.Builder
	perf.Stderr = &out
	if err := perf.Start(); err != nil {
		return "unknown: " + err.Error()
	}
	requests := s.load(pinned).requests
	perf.Process.Signal(syscall.SIGINT)
	perf.Wait()
	var calls float64
	if _, err := fmt.Sscanf(strings.TrimSpace(out.String()), "%f,", &calls); err != nil {
		return "unknown: perf has no raw_syscalls:sys_enter"
	}
	return fmt.Sprintf("%.2f", calls/float64(requests))
}

// compareEcho runs duel.
func compareEcho(dir, p string, pinned bool) {
	names, flags := variants()
	cpu := "-1"
	if pinned {
		cpu = serverCPU
	}
	args := []string{"-conns", fmt.Sprint(*conns), "-size", "64", "-cycles", fmt.Sprint(*cycles), "-server-cpu", cpu}
	for _, name := range names {
		args = append(args, name+"="+strings.Join(append([]string{filepath.Join(dir, "netconnecho"), "-listen", "127.0.0.1:{port}"}, flags[name]...), " "))
	}
	fmt.Printf("\necho, P=%s, by duel\n\n", p)
	duel := command(pinned, loadCPU, filepath.Join(dir, "duel"), args...)
	duel.Stdout, duel.Stderr = os.Stdout, os.Stderr
	check(duel.Run())
}
