//go:build unix

package sock_test

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

// ConnectTCP does not block; ConnectError returns the outcome.
func ExampleConnectTCP() {
	q, err := pollux.New()
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	c, err := sock.ConnectTCP(netip.MustParseAddrPort("127.0.0.1:1")) // no socket listens there
	if err == nil {
		defer c.Close()
		if err := q.Register(c, 1, pollux.Writable, pollux.Edge); err != nil {
			log.Fatal(err)
		}
		events := make([]pollux.Event, 1)
		for err = c.ConnectError(); errors.Is(err, sock.ErrWouldBlock); err = c.ConnectError() {
			if _, err := q.Wait(events, pollux.Forever); err != nil {
				log.Fatal(err)
			}
		}
	}
	fmt.Println(errors.Is(err, syscall.ECONNREFUSED))
	// Output: true
}

// Write returns how much the kernel accepted; write the rest after Writable.
func ExampleStream_Write() {
	a, b, err := sock.UnixPair()
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	data := make([]byte, 10<<20)
	n, err := a.Write(data)
	fmt.Println(n > 0, n < len(data), errors.Is(err, sock.ErrWouldBlock))
	// Output: true true true
}

// Options of a listener are for its connections. SetOptions changes those of an open socket.
func ExampleTCPListener_SetOptions() {
	ln, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"), sock.NoDelay(false), sock.WriteBuffer(64<<10))
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	if err := ln.SetOptions(sock.KeepAlive(net.KeepAliveConfig{Enable: true, Idle: time.Minute})); err != nil {
		log.Fatal(err)
	}
	client, err := sock.ConnectTCP(ln.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	q, err := pollux.New()
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	if err := q.Register(ln, 1, pollux.Readable, pollux.Edge); err != nil {
		log.Fatal(err)
	}
	if _, err := q.Wait(make([]pollux.Event, 1), pollux.Forever); err != nil {
		log.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	noDelay, _ := server.NoDelay()
	keepAlive, _ := server.KeepAlive()
	fmt.Println("NoDelay:", noDelay, "keep-alive:", keepAlive.Enable)

	err = ln.SetOptions(sock.ReusePort(true)) // too late for this one
	fmt.Println(errors.Is(err, sock.ErrBadArgument))
	// Output:
	// NoDelay: false keep-alive: true
	// true
}
