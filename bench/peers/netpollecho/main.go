//go:build linux || darwin

// Netpollecho is an echo server on github.com/cloudwego/netpoll. docs/performance.md
// compares the other servers with it.
package main

import (
	"context"
	"flag"
	"log"

	"github.com/cloudwego/netpoll"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:7000", "TCP address")
	flag.Parse()
	ln, err := netpoll.CreateListener("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	loop, err := netpoll.NewEventLoop(echo)
	if err != nil {
		log.Fatal(err)
	}
	if err := loop.Serve(ln); err != nil {
		log.Fatal(err)
	}
}

// echo sends the received bytes, with netpoll's own buffers.
func echo(_ context.Context, c netpoll.Connection) error {
	r, w := c.Reader(), c.Writer()
	b, err := r.Next(r.Len())
	if err != nil {
		return err
	}
	if _, err := w.WriteBinary(b); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return r.Release()
}
