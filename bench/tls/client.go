package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	"github.com/pollux-io/pollux/bench/internal/proc"
)

const serverName = "bench.invalid"

// A server is a child process, and what its clients need.
type server struct {
	name, kind, env string
	address         string
	cmd             *exec.Cmd
	in              io.WriteCloser
	out             *bufio.Reader
}

func (s *server) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.cmd = exec.Command(self, "-serve", s.kind)
	s.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	if s.env != "" {
		s.cmd.Env = append(s.cmd.Env, s.env)
	}
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	s.out = bufio.NewReader(out)
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	_, err = fmt.Fscanln(s.out, &s.address)
	return err
}

func (s *server) stop() {
	s.in.Close()
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

func (s *server) cpu() (nanos int64, err error) { return proc.CPUNanos(s.cmd.Process.Pid) }

// usage is the memory of a server.
type usage struct{ inUse, rss int64 }

func (s *server) memory() (u usage, err error) {
	if _, err := fmt.Fprintln(s.in, "memory"); err != nil {
		return u, err
	}
	_, err = fmt.Fscanln(s.out, &u.inUse, &u.rss)
	return u, err
}

// dial connects, and does a handshake. cache may be nil.
func (s *server) dial(cache tls.ClientSessionCache) (*tls.Conn, error) {
	return tls.Dial("tcp", s.address, &tls.Config{
		ServerName: serverName, InsecureSkipVerify: true, // the certificate is made for this run
		ClientSessionCache: cache, DynamicRecordSizingDisabled: true, CurvePreferences: []tls.CurveID{tls.X25519},
	})
}

// exchange sends a message and reads its echo into the same slice. It does nothing if message is empty.
func exchange(c *tls.Conn, message []byte) error {
	if len(message) == 0 {
		return nil
	}
	if _, err := c.Write(message); err != nil {
		return err
	}
	_, err := io.ReadFull(c, message)
	return err
}

// parallel is how many goroutines the client has.
const parallel = 16

// inParallel calls f(0) to f(n-1), several at a time.
func inParallel(n int, f func(int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, parallel)
	for p := range parallel {
		wg.Go(func() {
			for i := p; i < n && errs[p] == nil; i += parallel {
				errs[p] = f(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// echoes returns a test with messages of this size: each connection has one in flight.
func echoes(size int) func(*server) (func() (int, error), error) {
	return func(s *server) (func() (int, error), error) {
		var all [active]*tls.Conn
		for i := range all {
			var err error
			if all[i], err = s.dial(nil); err != nil {
				return nil, err
			}
		}
		messages := make([]byte, active*size)
		message := func(i int) []byte { return messages[i*size : (i+1)*size] }
		return func() (int, error) {
			for i, c := range all {
				if _, err := c.Write(message(i)); err != nil {
					return 0, err
				}
			}
			for i, c := range all {
				if _, err := io.ReadFull(c, message(i)); err != nil {
					return 0, err
				}
			}
			return active, nil
		}, nil
	}
}

// handshakes returns a test that connects, does a handshake and closes.
func handshakes(resumed bool) func(*server) (func() (int, error), error) {
	return func(s *server) (func() (int, error), error) {
		var cache tls.ClientSessionCache
		if resumed {
			cache = tls.NewLRUClientSessionCache(1)
		}
		first := true
		return func() (int, error) {
			c, err := s.dial(cache)
			if err != nil {
				return 0, err
			}
			defer c.NetConn().Close()
			if c.ConnectionState().DidResume != (resumed && !first) {
				return 0, fmt.Errorf("a session was resumed: %v", c.ConnectionState().DidResume)
			}
			first = false
			return 1, exchange(c, []byte{1}) // with a ticket of the session
		}, nil
	}
}
