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
