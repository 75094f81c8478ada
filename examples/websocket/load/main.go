// Load measures the hub of examples/websocket with very many clients: they join one room, one of
// them sends messages, and each client must get each message once and in order. Then the server is
// stopped, and each client must get Close 1001.
//
//		go build -o /tmp/hub ./websocket && go run ./websocket/load -server /tmp/hub -clients 10000
//
//	  - run.go: the phases of a run, and the report;
//	  - client.go: one client;
//	  - server.go: the server's process; process_linux.go: its memory and CPU time;
//	  - histogram.go: latencies.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"
)

func main() {
	log.SetFlags(0)
	var o options
	program := flag.String("server", "", "start this `program`, a build of examples/websocket, measure it, and stop it at the end")
	flag.StringVar(&o.addr, "addr", "", "instead of -server: the `address` of a server, which is not stopped")
	flag.IntVar(&o.clients, "clients", 10_000, "number of clients")
	flag.IntVar(&o.broadcasts, "broadcasts", 200, "number of messages, each for all clients")
	flag.IntVar(&o.inFlight, "in-flight", 1, "number of messages that are on their way at once")
	flag.IntVar(&o.bytes, "bytes", 128, "length of a message")
	flag.IntVar(&o.loops, "loops", 1, "number of loops for the clients")
	timeout := flag.Duration("timeout", 10*time.Minute, "give up after this time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	report, err := measure(ctx, *program, o)
	if err != nil {
		log.Fatal("load: ", err)
	}
	fmt.Print(report)
}
