// Echo is the smallest echo server. See docs/guide.md.
package main

import (
	"log"

	"github.com/pollux-io/pollux/loop"
)

type echo struct{}

func (echo) Data(c *loop.Conn, b []byte) (int, error) { return c.Write(b) }

func main() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:7000", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("echo at %v, by %s", ln.Addr(), g.Backend())
	log.Fatal(g.Wait()) // until all loops have failed
}
