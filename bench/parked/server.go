package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/pollux-io/pollux/bench/internal/proc"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/netconn/parkhttp"
)

// figures are those of a server process.
type figures struct {
	Heap, Stack        int64 // bytes
	Goroutines, Parked int
	rss                int64 // bytes; of the parent
}

// beServer serves HTTP, prints the address, and answers each line of the standard input with figures, until its end.
func beServer(kind, backend string) error {
	server := &http.Server{Handler: http.HandlerFunc(answer), ReadHeaderTimeout: time.Minute, IdleTimeout: time.Hour}
	ln, parked, err := listen(kind, backend, server)
	if err != nil {
		return err
	}
	go server.Serve(ln)
	fmt.Println(ln.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		f := figures{Parked: parked(), Goroutines: runtime.NumGoroutine()}
		if in.Text() == "memory" {
			runtime.GC()
			debug.FreeOSMemory() // the second collection empties sync.Pools
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			f.Heap, f.Stack = int64(m.HeapAlloc), int64(m.StackInuse)
		}
		if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
			return err
		}
	}
	return nil
}

// listen returns the listener of a kind of server, and a function that returns the number of parked connections.
func listen(kind, backend string, server *http.Server) (net.Listener, func() int, error) {
	const addr = "127.0.0.1:0"
	none := func() int { return 0 }
	if kind == "net" {
		ln, err := net.Listen("tcp", addr)
		return ln, none, err
	}
	g, err := loop.NewGroup(loop.Config{Backend: backend})
	if err != nil {
		return nil, nil, err
	}
	ln, err := netconn.Listen(g, "tcp", addr)
	if err != nil || kind == "netconn" {
		return ln, none, err
	}
	parked := ln.(*netconn.Listener).Parked
	ln, err = parkhttp.Park(server, ln)
	return ln, parked, err
}

// answer answers with the path and the body of the request.
func answer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s", r.URL.Path, body)
}

// A serverProcess is a server as its parent sees it.
type serverProcess struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	addr string
}

func startServer(kind, backend string) (*serverProcess, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &serverProcess{cmd: exec.Command(program, "-serve", kind, "-backend", backend)}
	s.cmd.Stderr = os.Stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	if s.addr, err = s.out.ReadString('\n'); err != nil {
		s.stop()
		return nil, fmt.Errorf("it has not reported its address: %w", err)
	}
	s.addr = s.addr[:len(s.addr)-1]
	return s, nil
}

// stop ends the server, and waits for its end.
func (s *serverProcess) stop() {
	s.in.Close()
	s.cmd.Wait()
}

// ask returns the figures of the server; those of memory only if what is "memory".
func (s *serverProcess) ask(what string) (f figures, err error) {
	if _, err := fmt.Fprintln(s.in, what); err != nil {
		return f, err
	}
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(line, &f)
}

// maxSettle bounds the wait for connections to be parked.
const maxSettle = time.Minute

// settle waits until the connections are idle and as many as expected are parked, and returns the figures with those of memory.
func (s *serverProcess) settle(parked int) (f figures, err error) {
	time.Sleep(idleTime)
	for end := time.Now().Add(maxSettle); ; time.Sleep(idleTime / 10) {
		if f, err = s.ask("count"); err != nil {
			return f, err
		}
		if f.Parked == parked {
			break
		}
		if time.Now().After(end) {
			return f, fmt.Errorf("%d connections are parked after %v, want %d", f.Parked, maxSettle, parked)
		}
	}
	if f, err = s.ask("memory"); err != nil {
		return f, err
	}
	f.rss, err = proc.AnonBytes(s.cmd.Process.Pid)
	return f, err
}
