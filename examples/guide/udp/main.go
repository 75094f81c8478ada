// Udp is an echo server for datagrams, which it handles in batches. See docs/guide.md.
package main

import (
	"errors"
	"log"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// echo is the handler of one socket; there may be one on each loop.
type echo struct{ lost int }

// Packets gets the received datagrams, up to 64.
func (h *echo) Packets(p *loop.PacketConn, ms []sock.Message) {
	for i := range ms {
		ms[i].Data = ms[i].Data[:ms[i].N]
	}
	for len(ms) > 0 {
		n, err := p.WriteBatch(ms)
		ms = ms[n:]
		switch {
		case errors.Is(err, sock.ErrWouldBlock): // drop them, as a congested network does
			h.lost += len(ms)
			return
		case err != nil: // of the first of the rest, such as an address without a route
			h.lost++
			ms = ms[1:]
		}
	}
}

func listen(g *loop.Group, address string) (*loop.PacketListener, error) {
	return g.ListenPacket("udp", address, func(*loop.PacketConn) loop.PacketHandler { return &echo{} })
}

func main() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	p, err := listen(g, "127.0.0.1:7000")
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("echo at udp %v, by %s", p.Addr(), g.Backend())
	log.Fatal(g.Wait()) // until all loops have failed
}
