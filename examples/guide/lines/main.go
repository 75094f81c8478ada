// Lines is a server for a line protocol, with what a server needs: limits,
// timeouts, back-pressure, work off the loops, and graceful shutdown. See
// docs/guide.md.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// highWatermark: while more bytes than this are unsent, nothing more is read from
// the client.
const highWatermark = 64 << 10

const drainTime = 10 * time.Second

// config is that of the server's group.
var config = loop.Config{
	MaxConns:           10_000,
	HighWatermarkBytes: highWatermark,
	LowWatermarkBytes:  highWatermark / 4,
	MaxUnreadBytes:     64 << 10, // well above maxLine
}

func main() {
	address := flag.String("listen", "127.0.0.1:7000", "listen at this `address`")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q: lines takes only flags; --help lists them", flag.Arg(0))
	}
	g, err := loop.NewGroup(config)
	if err != nil {
		log.Fatal(err)
	}
	ln, err := g.Listen("tcp", *address, newSession)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("lines at %v, by %s", ln.Addr(), g.Backend())

	ended, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	<-ended.Done()
	stop() // a second signal ends the program immediately
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := g.Shutdown(drain); err != nil {
		log.Print(err)
	}
}
