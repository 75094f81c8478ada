package main

import (
	"context"
	"io"
	"log"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/sock"
)

// start runs a server until the test ends, and returns its address.
func start(t testing.TB, o options) (addr string) {
	t.Helper()
	log.SetOutput(io.Discard)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	ctx, cancel := context.WithCancel(context.Background())
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() { ended <- serve(ctx, "127.0.0.1:0", o, 0, func(_ *server, a net.Addr) { listening <- a }) }()
	select {
	case a := <-listening:
		addr = a.String()
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return addr
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A simulation is a server on a host of a simulated network, and a host for its clients.
type simulation struct {
	*looptest.Network
	*server
	clients *looptest.Host
	address string
}

// simulate starts the server. It must be called in a bubble.
func simulate(t *testing.T, c looptest.Config, o options) *simulation {
	t.Helper()
	n := looptest.New(t, c)
	host := n.Host()
	o.network = host
	s, err := newServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		if err := s.group.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	// Small buffers show soon what happens to clients that do not read.
	if _, err := s.group.Listen("tcp", ":80", s.accept, sock.WriteBuffer(8<<10)); err != nil {
		t.Fatal(err)
	}
	return &simulation{n, s, n.Host(), net.JoinHostPort(host.Addr().String(), "80")}
}

func (s *simulation) dial(t *testing.T) *looptest.Conn {
	t.Helper()
	c, err := s.clients.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// settle returns when the server has nothing to do.
func settle() { time.Sleep(10 * time.Millisecond) }

// join returns a client that is a member of a room.
func (s *simulation) join(t *testing.T, room string) (*client, *looptest.Conn) {
	t.Helper()
	conn := s.dial(t)
	t.Cleanup(func() { conn.Close() })
	return open(t, conn, "/hub/"+room), conn
}

// bubble runs a test with a simulated server.
func bubble(t *testing.T, c looptest.Config, o options, f func(t *testing.T, s *simulation)) {
	synctest.Test(t, func(t *testing.T) { f(t, simulate(t, c, o)) })
}
