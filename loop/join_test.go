package loop_test

import (
	"context"
	"errors"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// Canceling a dial before its loop has begun it does not release the MaxConns slot of another
// connection.
func TestDialCanceledBeforeItsLoopBegins(t *testing.T) {
	g, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler { return echo{} })
	ping(t, c)
	other := startEchoServer(t)
	hold, held := make(chan struct{}), make(chan struct{})
	g.Loops()[0].Run(func() { close(held); <-hold })
	<-held
	ctx, cancel := context.WithCancel(context.Background())
	canceled := make(chan error, 1)
	go func() {
		_, err := g.Dial(ctx, "tcp", other, func(*loop.Conn) loop.Handler { return echo{} })
		canceled <- err
	}()
	waitBlocked(t, "loop.(*Group).Dial", 1)
	cancel()
	if err := receive(t, canceled, "Dial's return"); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial: got %v, want its context's error", err)
	}
	close(hold)
	ping(t, c)
	if n := g.Conns(); n != 1 {
		t.Errorf("Conns() = %d, want 1", n)
	}
}

// startEchoServer starts an echo server in a group of its own, and returns its address.
func startEchoServer(t *testing.T) string {
	g := group(t, loop.Config{Loops: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	barrier(t, g) // the overlapped driver has opened the sockets that accept: a count of descriptors includes them
	return ln.Addr().String()
}

// A connection that opens on a loop that shuts down is closed; the existing ones finish.
func TestL8ShutdownRefusesLateConnections(t *testing.T) {
	g, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler { return echo{} })
	ping(t, c)
	other := startEchoServer(t)
	ended := make(chan error, 1)
	go func() { ended <- g.Shutdown(t.Context()) }()
	l := g.Loops()[0]
	for range 100 {
		called := make(chan error, 1)
		err := l.Dial(context.Background(), "tcp", other, func(*loop.Conn) loop.Handler { return echo{} }, func(c *loop.Conn, err error) {
			if c != nil { // it opened before the loop shut down
				c.Close()
			}
			called <- err
		})
		if err == nil {
			receive(t, called, "the dial's result")
		}
		ping(t, c)
	}
	c.Close()
	if err := receive(t, ended, "Shutdown"); err != nil {
		t.Error(err)
	}
	if n := g.Conns(); n != 0 {
		t.Errorf("%d connections are left after Shutdown, want 0", n)
	}
	err := l.Dial(context.Background(), "tcp", other, func(*loop.Conn) loop.Handler { return echo{} }, func(*loop.Conn, error) { t.Error("Dial returned an error, and called back") })
	if !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Dial after Shutdown: got %v, want ErrClosed", err)
	}
	if n := g.Conns(); n != 0 {
		t.Errorf("%d connections are counted after Dial failed, want 0", n)
	}
}
