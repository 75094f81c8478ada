//go:build unix

package sock_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
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

// A Unix listener removes its path when it is closed.
func ExampleListenUnix() {
	dir, err := os.MkdirTemp("", "pollux")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ln, err := sock.ListenUnix(dir + "/service.sock")
	if err != nil {
		log.Fatal(err)
	}
	client, err := sock.ConnectUnix(ln.Addr()) // connected, or an error
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	server, err := ln.Accept()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	io.WriteString(client, "hello")
	b := make([]byte, 16)
	n, err := server.Read(b)
	fmt.Printf("%s %v\n", b[:n], err)
	_, err = server.Read(b)
	fmt.Println(errors.Is(err, sock.ErrWouldBlock))

	ln.Close()
	_, err = os.Stat(dir + "/service.sock")
	fmt.Println(errors.Is(err, os.ErrNotExist))
	// Output:
	// hello <nil>
	// true
	// true
}

// After the last writer has closed its end, and the bytes are read, Read returns io.EOF.
func ExamplePipe() {
	r, w, err := sock.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	io.WriteString(w, "bye")
	w.Close()
	b := make([]byte, 16)
	for {
		n, err := r.Read(b)
		fmt.Printf("%q %v\n", b[:n], err)
		if err != nil {
			return
		}
	}
	// Output:
	// "bye" <nil>
	// "" EOF
}

// FromTCPConn returns a second descriptor of a connection of package net. The connection ends
// when both are closed.
func ExampleFromTCPConn() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	s, err := sock.FromTCPConn(conn.(*net.TCPConn))
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	conn.Close() // s is still connected
	fmt.Println(s.RemoteAddr().String() == ln.Addr().String(), s.ConnectError())
	// Output: true <nil>
}

// SyscallConn gives access to what this package does not have, such as a socket option.
func ExampleDescriptor_SyscallConn() {
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		log.Fatal(err)
	}
	defer u.Close()
	raw, err := u.SyscallConn()
	if err != nil {
		log.Fatal(err)
	}
	var kind int
	var optErr error
	err = raw.Control(func(fd uintptr) {
		kind, optErr = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_TYPE)
	})
	fmt.Println(kind == syscall.SOCK_DGRAM, optErr, err)
	// Output: true <nil> <nil>
}
