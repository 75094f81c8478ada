package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/bench/internal/proc"
)

// server is a server process and its port.
type server struct {
	cmd  *exec.Cmd
	port int // the first of its ports
}

// servers has all servers that were started.
var servers []*server

func stopAll() {
	for _, s := range servers {
		s.stop()
	}
}

var nextPort = 20_000 + os.Getpid()%5_000

// start starts a server, and waits until it answers.
func start(command string) {
	s := &server{port: nextPort}
	nextPort += max(*udp, 1)
	flags := make([]string, *udp)
	for i := range flags {
		flags[i] = fmt.Sprintf("-l udp://127.0.0.1:%d", s.port+i)
	}
	command = strings.ReplaceAll(command, "{port}", strconv.Itoa(s.port))
	words := strings.Fields(strings.ReplaceAll(command, "{udp}", strings.Join(flags, " ")))
	env := os.Environ()
	if *cpu >= 0 {
		env = append(env, "GOMAXPROCS=1")
	}
	for len(words) > 1 && strings.Contains(words[0], "=") {
		env = append(env, words[0])
		words = words[1:]
	}
	if *cpu >= 0 {
		words = append([]string{"taskset", "-c", strconv.Itoa(*cpu)}, words...)
	}
	s.cmd = exec.Command(words[0], words[1:]...)
	s.cmd.Env, s.cmd.Stderr = env, os.Stderr
	check(s.cmd.Start())
	servers = append(servers, s)
	s.await()
}

// await waits until the server answers.
func (s *server) await() {
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if *udp > 0 {
			if echoes(s.port + *udp - 1) {
				return
			}
			continue
		}
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port)); err == nil {
			c.Close()
			return
		}
	}
	fatal("%v does not answer within %v", s.cmd, patient)
}

// echoes reports whether the server at port answers a datagram.
func echoes(port int) bool {
	c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	check(err)
	defer c.Close()
	c.Write([]byte("?"))
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	return err == nil
}

func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(time.Second, func() { s.cmd.Process.Kill() })
	s.cmd.Wait()
	kill.Stop()
}

// cpuNanos returns how long the process's threads have run on a processor.
func (s *server) cpuNanos() int64 {
	n, err := proc.CPUNanos(s.cmd.Process.Pid)
	check(err)
	return n
}
