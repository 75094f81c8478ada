// Netconnecho is a server of package net's kind, with a goroutine for each connection, on package net or on
// package netconn: an echo server, or net/http. It is what shows the cost of package netconn, each command of
// the pair as a server of duel, or of a load generator of HTTP such as wrk:
//
//	taskset -c 1 duel -conns 64 -size 64 'net=netconnecho -listen 127.0.0.1:{port}' 'netconn=netconnecho -netconn -listen 127.0.0.1:{port}'
//	netconnecho -http -netconn -listen 127.0.0.1:7000
package main

import (
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

func main() {
	log.SetFlags(0)
	addr := flag.String("listen", "127.0.0.1:7000", "TCP address")
	loops := flag.Bool("netconn", false, "use package netconn instead of package net")
	backend := flag.String("backend", "", "backend of the loops")
	spin := flag.Duration("busy-poll", 0, "loop.Config.BusyPoll: 0 adaptive, negative never")
	nloops := flag.Int("loops", 0, "number of loops; 0: GOMAXPROCS")
	web := flag.Bool("http", false, "serve HTTP: a short text at each path")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this file, until SIGINT or SIGTERM")
	flag.Parse()
	ln, err := listen(*addr, *loops, loop.Config{Backend: *backend, BusyPoll: *spin, Loops: *nloops})
	if err != nil {
		log.Fatal(err)
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			log.Fatal(err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			log.Fatal(err)
		}
	}
	if *web {
		go serveHTTP(ln)
	} else {
		go serveEcho(ln)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	pprof.StopCPUProfile()
}

func listen(addr string, loops bool, config loop.Config) (net.Listener, error) {
	if !loops {
		return net.Listen("tcp", addr)
	}
	g, err := loop.NewGroup(config)
	if err != nil {
		return nil, err
	}
	return netconn.Listen(g, "tcp", addr)
}

func serveHTTP(ln net.Listener) {
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "castor and pollux\n") }),
		ReadHeaderTimeout: time.Minute,
	}
	log.Fatal(server.Serve(ln))
}

func serveEcho(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer c.Close()
			echo(c)
		}()
	}
}

func echo(c net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := c.Read(b)
		if n > 0 {
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
