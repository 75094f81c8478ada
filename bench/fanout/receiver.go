package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// patient bounds every wait for a server.
const patient = 20 * time.Second

// receiver has the connections to all servers, on one loop, and counts what arrives.
type receiver struct {
	group *loop.Group
	done  chan struct{}

	mu   sync.Mutex
	left int // bytes that are still expected
}

func newReceiver() *receiver {
	g, err := loop.NewGroup(loop.Config{Loops: 1, Backend: "epoll"})
	if err != nil {
		log.Fatal(err)
	}
	return &receiver{group: g, done: make(chan struct{}, 1)}
}

// Data implements loop.Handler.
func (r *receiver) Data(_ *loop.Conn, b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left -= len(b); r.left == 0 {
		r.done <- struct{}{}
	}
	return len(b), nil
}

func (r *receiver) expect(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left += n
}

func (r *receiver) await() {
	select {
	case <-r.done:
	case <-time.After(patient):
		log.Fatalf("%d bytes have not arrived within %v", r.left, patient)
	}
}

// connect opens n connections, each of which the server greets with a byte.
func (r *receiver) connect(addr string, n int) {
	for range n {
		r.expect(1)
		if _, err := r.group.Dial(context.Background(), "tcp", addr, func(*loop.Conn) loop.Handler { return r }); err != nil {
			log.Fatal(err)
		}
		r.await()
	}
}

// server is a process that sends.
type server struct {
	name, addr string
	cmd        *exec.Cmd
	in         io.WriteCloser
}

// start starts a server, which writes its address.
func start(name string) *server {
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	args := []string{"-c", strconv.Itoa(*serverCPU), self, "-serve", name}
	if *profile != "" {
		args = append(args, "-cpuprofile", *profile+strings.ReplaceAll(name, "/", "-"))
	}
	s := &server{name: name, cmd: exec.Command("taskset", args...)}
	s.cmd.Env, s.cmd.Stderr = append(os.Environ(), "GOMAXPROCS=1"), os.Stderr
	s.in, err = s.cmd.StdinPipe()
	if err != nil {
		log.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		log.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		log.Fatal(err)
	}
	if s.addr, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		log.Fatalf("server %s: %v", name, err)
	}
	s.addr = strings.TrimSpace(s.addr)
	return s
}

func (s *server) stop() {
	s.in.Close()
	s.cmd.Wait()
}

// cpu returns how long the process's threads have run on a processor (schedstat, proc(5)).
func (s *server) cpu() (sum time.Duration) {
	dir := fmt.Sprintf("/proc/%d/task", s.cmd.Process.Pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range threads {
		b, err := os.ReadFile(dir + "/" + t.Name() + "/schedstat")
		if err != nil {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(b), " ")
		n, _ := strconv.ParseInt(first, 10, 64)
		sum += time.Duration(n)
	}
	return sum
}
