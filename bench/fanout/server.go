package main

import (
	"bufio"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"

	"github.com/pollux-io/pollux/loop"
)

// maxMessage is the largest message, and the largest number of messages sent at once.
const maxMessage = 1 << 20

// hub is a way to send a message to all connections.
type hub interface {
	listen() net.Addr
	// send sends message in so many equal parts.
	send(message []byte, burst int)
}

// runServer sends the messages requested on its standard input, until that ends.
func runServer(name string) {
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			log.Fatal(err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			log.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	method, backend, _ := strings.Cut(name, "/")
	var h hub = &netHub{}
	if name != "net/go" {
		g, err := loop.NewGroup(loop.Config{Loops: 1, Backend: backend})
		if err != nil {
			log.Fatal(err)
		}
		h = &loopHub{g: g, method: method, f: loop.NewFanout(loop.FanoutConfig{})}
	}
	fmt.Println(h.listen())
	var message []byte
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var size, burst int
		if _, err := fmt.Sscan(lines.Text(), &size, &burst); err != nil {
			log.Fatal(err)
		}
		if len(message) < size*burst {
			message = make([]byte, size*burst)
		}
		h.send(message[:size*burst], burst)
	}
}

// loopHub sends with package loop.
type loopHub struct {
	g      *loop.Group
	method string
	f      *loop.Fanout

	mu    sync.Mutex
	conns []*loop.Conn
}

func (h *loopHub) listen() net.Addr {
	ln, err := h.g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return h })
	if err != nil {
		log.Fatal(err)
	}
	return ln.Addr()
}

// Opened implements loop.OpenedHandler.
func (h *loopHub) Opened(c *loop.Conn) {
	h.mu.Lock()
	h.conns = append(h.conns, c)
	h.mu.Unlock()
	check(h.f.Add(c))
	c.Write([]byte("!"))
}

// Data implements loop.Handler.
func (h *loopHub) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }

func (h *loopHub) send(message []byte, burst int) {
	size := len(message) / burst
	for i := range burst {
		message := message[i*size:][:size]
		shared := loop.NewShared(message)
		switch h.method {
		case "shared":
			for err := h.f.Send(shared); err != nil; err = h.f.Send(shared) {
				if !errors.Is(err, loop.ErrQueueFull) {
					log.Fatal(err)
				}
				runtime.Gosched()
			}
		case "each":
			check(h.g.Each(func(c *loop.Conn) {
				_, err := c.Write(message)
				check(err)
			}))
		case "write":
			for _, c := range h.conns {
				_, err := c.Write(message)
				check(err)
			}
		case "owned":
			for _, c := range h.conns {
				_, err := c.WriteShared(shared)
				check(err)
			}
		default:
			log.Fatalf("%q is not a method", h.method)
		}
	}
}

// netHub sends with package net: each connection has a goroutine that writes what comes from its
// channel.
type netHub struct {
	mu       sync.Mutex
	channels []chan []byte
}

// queued is how many messages a channel holds.
const queued = 64

func (h *netHub) listen() net.Addr {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go func() {
		for {
			c, err := ln.Accept()
			check(err)
			messages := make(chan []byte, queued)
			h.mu.Lock()
			h.channels = append(h.channels, messages)
			h.mu.Unlock()
			go func() {
				c.Write([]byte("!"))
				for b := range messages {
					_, err := c.Write(b)
					check(err)
				}
			}()
		}
	}()
	return ln.Addr()
}

func (h *netHub) send(message []byte, burst int) {
	size := len(message) / burst
	for i := range burst {
		for _, c := range h.channels {
			c <- message[i*size:][:size]
		}
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
