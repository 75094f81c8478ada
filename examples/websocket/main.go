// Websocket is a WebSocket server (RFC 6455) on Pollux's loops: a hub, whose rooms pass each
// message on to all their members, and an echo server. Read it in this order:
//
//   - server.go: options, and the life of the server;
//   - upgrade.go: a connection until the opening handshake is done;
//   - session.go: a connection after it, from received bytes to messages, and its end;
//   - keepalive.go: clients that are gone without FIN or reset;
//   - hub.go: rooms, and clients that are too slow;
//   - stats.go: the figures that are logged;
//   - internal/websocket: the protocol, without I/O.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		log.Fatal("websocket: ", err)
	}
}

func run() error {
	o := defaults
	listen := flag.String("listen", "127.0.0.1:9001", "listen at this `address`")
	flag.IntVar(&o.loops, "loops", o.loops, "number of loops, each of which uses at most one processor; 0: as many as there are processors")
	flag.IntVar(&o.maxConns, "max-conns", o.maxConns, "maximum number of open connections; further ones wait until others end; 0: as many as there are descriptors")
	flag.IntVar(&o.maxMessageBytes, "max-message", o.maxMessageBytes, "maximum length of a message to the hub, in `bytes`")
	flag.IntVar(&o.maxEchoBytes, "max-echo", o.maxEchoBytes, "maximum length of a message to /echo, in `bytes`")
	flag.IntVar(&o.maxUnsentBytes, "max-unsent", o.maxUnsentBytes, "a client of the hub is slow if more `bytes` than these would be unsent to it")
	slow := flag.String("slow", "close", "what happens to slow clients: close, or skip (they miss messages)")
	flag.DurationVar(&o.pingInterval, "ping", o.pingInterval, "ping clients that have been silent for so long, and abort them if they do not answer for as long again; 0: never")
	origins := flag.String("origins", "", "browsers' origins that may connect, with commas in between, such as https://example.com; *: all; otherwise only pages of this host")
	cert := flag.String("cert", "", "serve TLS (wss) with the certificates in this `file`, of format PEM; -key has the key")
	key := flag.String("key", "", "`file` with the key of -cert, of format PEM")
	every := flag.Duration("stats", time.Minute, "log figures at this interval; 0: never")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: give flags only; --help lists them", flag.Arg(0))
	}
	switch *slow {
	case "close", "skip":
		o.skipSlow = *slow == "skip"
	default:
		return fmt.Errorf("-slow %q: give close or skip", *slow)
	}
	if *origins != "" {
		o.origins = strings.Split(*origins, ",")
	}
	if *cert != "" || *key != "" {
		c, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return fmt.Errorf("-cert %q, -key %q: %w", *cert, *key, err)
		}
		o.tls = &tls.Config{Certificates: []tls.Certificate{c}}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program immediately
	return serve(ctx, *listen, o, *every, func(s *server, a net.Addr) {
		log.Printf("listening at %v, on %s", a, s.group.Backend())
	})
}
