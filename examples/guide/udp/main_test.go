package main

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

func TestEcho(t *testing.T) {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	p, err := listen(g, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("udp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 64)
	for i := range 100 {
		sent := fmt.Sprint("datagram ", i)
		c.Write([]byte(sent))
		if n, err := c.Read(b); err != nil || string(b[:n]) != sent {
			t.Fatalf("received %q, %v, want %q", b[:n], err, sent)
		}
	}
}
