// Netecho is an echo server on plain package net, with a goroutine for each connection.
// docs/performance.md compares the other servers with it.
package main

import (
	"flag"
	"log"
	"net"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:7000", "TCP address")
	flag.Parse()
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(c)
	}
}

func serve(c net.Conn) {
	defer c.Close()
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
