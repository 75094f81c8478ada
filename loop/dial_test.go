package loop_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

func TestDial(t *testing.T) {
	g := group(t, loop.Config{})
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, len("hello"))
	c, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler {
		return &funcs{data: func(_ *loop.Conn, b []byte) (int, error) { got <- string(b); return len(b), nil }}
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("hello"))
	if s := receiveAll(t, got, len("hello"), "the echo"); s != "hello" {
		t.Errorf("echo = %q, want hello", s)
	}
	addr := ln.Addr().String()
	ln.Close()
	testkit.Eventually(func() bool { // the descriptor of a listener is closed a little later
		_, err = g.Dial(context.Background(), "tcp", addr, func(*loop.Conn) loop.Handler { return echo{} })
		return err != nil
	})
	if err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("Dial of a closed listener: got %v, want an error with the address %s", err, addr)
	}
	if _, err := g.Dial(context.Background(), "tcp", "no.such.host:1", nil); err == nil {
		t.Error("Dial of a host name succeeded, want an error")
	}
}
