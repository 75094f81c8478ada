//go:build unix

package sock_test

import (
	"errors"
	"fmt"
	"log"
	"net/netip"
	"syscall"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

// Connecting never waits; ConnectError tells for certain how it has ended.
func ExampleConnectTCP() {
	q, err := pollux.New()
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	c, err := sock.ConnectTCP(netip.MustParseAddrPort("127.0.0.1:1")) // nobody listens there
	if err == nil {
		defer c.Close()
		if err := q.Registrator().Register(c, 1, pollux.Writable, pollux.Edge); err != nil {
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

// A write says how much the kernel took; the rest waits for Writable.
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
