// Proxy forwards connections to one server. The two directions are independent of each
// other: a client that does not read its answer can still send, and vice versa. See
// docs/guide.md.
package main

import (
	"flag"
	"log"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// serve forwards the connections to address to server.
func serve(g *loop.Group, address, server string) (*loop.Listener, error) {
	relay, err := loop.RelayTo("tcp", server, loop.RelayConfig{
		DialTimeout: 10 * time.Second,
		IdleTimeout: time.Hour,
		OnEnd:       ended,
	})
	if err != nil {
		return nil, err
	}
	return g.Listen("tcp", address, func(*loop.Conn) loop.Handler { return relay })
}

// ended is called when both connections of a client have ended.
func ended(end loop.RelayEnd) {
	log.Printf("%v: %d bytes sent, %d received, error: %v",
		end.A.RemoteAddr(), end.BytesAToB, end.BytesBToA, end.Err)
}

func main() {
	listen := flag.String("listen", "127.0.0.1:7000", "listen for clients at this `address`")
	to := flag.String("to", "127.0.0.1:7001", "forward to the server at this `address`")
	flag.Parse()
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := serve(g, *listen, *to)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("from %v to %s", ln.Addr(), *to)
	log.Fatal(g.Wait()) // until all loops have failed
}
