// Package faultserver is a TCP server for tests, which write its answers byte for byte,
// so that they can be wrong in any way.
package faultserver

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
)

// A Server gives each connection to a function.
type Server struct {
	Addr   string // host:port
	scheme string
	ln     net.Listener
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	count  int
}

// Raw starts a server that calls talk for each connection, then closes it. The end of the
// test closes the open connections, and waits for talk.
func Raw(t testing.TB, talk func(c *net.TCPConn)) *Server {
	t.Helper()
	testkit.CheckLeaks(t) // now, as how many descriptors a server has depends on whether it accepts yet
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: ln.Addr().String(), scheme: "http", ln: ln, conns: make(map[net.Conn]struct{})}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = struct{}{}
			s.count++
			s.mu.Unlock()
			s.wg.Go(func() {
				talk(c.(*net.TCPConn))
				c.Close()
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
			})
		}
	})
	t.Cleanup(s.close)
	return s
}

func (s *Server) close() {
	s.ln.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Count is how many connections there have been.
func (s *Server) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Answer starts a server that reads a request, then calls answer.
func Answer(t testing.TB, answer func(c *net.TCPConn, r *http.Request)) *Server {
	t.Helper()
	return Raw(t, func(c *net.TCPConn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil {
			answer(c, r)
		}
	})
}

// Text starts a server that answers every request with text, then hangs up.
func Text(t testing.TB, text string) *Server {
	t.Helper()
	return Answer(t, func(c *net.TCPConn, _ *http.Request) { c.Write([]byte(text)) })
}

// URL returns the URL of path.
func (s *Server) URL(path string) string { return s.scheme + "://" + s.Addr + path }

// Wait blocks until the client hangs up, or the test ends.
func Wait(c *net.TCPConn) {
	var b [1]byte
	for {
		if _, err := c.Read(b[:]); err != nil {
			return
		}
	}
}

// Refusing returns a URL whose port refuses connections.
func Refusing(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return "http://" + ln.Addr().String() + "/"
}
