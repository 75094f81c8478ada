package pollux_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/netip"
	"sync"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

// One goroutine, two ends of a connection and a listener.
func Example() {
	q, err := pollux.New()
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()

	ln, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	client, err := sock.ConnectTCP(ln.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	const listening, connecting, serving = pollux.Token(0), pollux.Token(1), pollux.Token(2)
	if err := q.Register(ln, listening, pollux.Readable, pollux.Edge); err != nil {
		log.Fatal(err)
	}
	if err := q.Register(client, connecting, pollux.Writable, pollux.Edge|pollux.Oneshot); err != nil {
		log.Fatal(err)
	}

	var server *sock.TCPStream
	events := make([]pollux.Event, 16)
	buf := make([]byte, 64)
	for {
		n, err := q.Wait(events, pollux.Forever)
		if err != nil {
			log.Fatal(err)
		}
		for _, ev := range events[:n] {
			switch ev.Token() {
			case listening:
				if server, err = ln.Accept(); err != nil {
					log.Fatal(err)
				}
				if err := q.Register(server, serving, pollux.Readable, pollux.Edge); err != nil {
					log.Fatal(err)
				}
			case connecting:
				if err := client.ConnectError(); err != nil {
					log.Fatal(err)
				}
				io.WriteString(client, "hello")
			case serving:
				n, err := server.Read(buf)
				fmt.Printf("%s %v\n", buf[:n], err)
				server.Close()
				return
			}
		}
	}
	// Output: hello <nil>
}

// Several goroutines wait on one queue; with Oneshot, only one at a time has an event of
// a source. When the queue is closed, each remaining registration gets a Closed event.
func ExamplePoll_Wait_manyWaiters() {
	q, err := pollux.New()
	if err != nil {
		log.Fatal(err)
	}
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		log.Fatal(err)
	}
	defer u.Close()
	if err := q.Register(u, 7, pollux.Readable, pollux.Oneshot); err != nil {
		log.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			events := make([]pollux.Event, 64)
			for {
				n, err := q.Wait(events, pollux.Forever)
				if errors.Is(err, pollux.ErrClosed) {
					return
				}
				for _, ev := range events[:n] {
					if ev.Closed() {
						fmt.Println("token", ev.Token(), "got the Closed event")
					}
				}
			}
		})
	}
	q.Close()
	wg.Wait()
	// Output: token 7 got the Closed event
}

// A Waker makes a Wait return from another goroutine.
func ExampleWaker() {
	q, err := pollux.New()
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	done, err := q.NewWaker(99)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		time.Sleep(time.Millisecond) // some work
		done.Wake()
	}()
	events := make([]pollux.Event, 1)
	n, err := q.Wait(events, pollux.Forever)
	fmt.Println(n, err, events[0].Token())
	// Output: 1 <nil> 99
}

// NewEvent makes the events for a test of code that handles them.
func ExampleNewEvent() {
	describe := func(ev pollux.Event) string { // the code under test
		switch {
		case ev.Closed():
			return "the queue is closed"
		case ev.Failed():
			return "read the error"
		case ev.Readable():
			return "read"
		}
		return "nothing to do"
	}
	fmt.Println(describe(pollux.NewEvent(1, pollux.EventState{Readable: true})))
	fmt.Println(describe(pollux.NewEvent(1, pollux.EventState{Readable: true, Failed: true})))
	fmt.Println(describe(pollux.NewEvent(1, pollux.EventState{Closed: true})))
	// Output:
	// read
	// read the error
	// the queue is closed
}

// A oneshot registration is silent after an event, until Reregister re-arms it. Readiness that
// lasts is then reported again.
func ExamplePoll_Reregister() {
	q, err := pollux.New()
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		log.Fatal(err)
	}
	defer u.Close()
	if err := q.Register(u, 1, pollux.Readable, pollux.Oneshot); err != nil {
		log.Fatal(err)
	}
	if _, err := u.WriteTo([]byte("to itself"), u.LocalAddr()); err != nil {
		log.Fatal(err)
	}

	events := make([]pollux.Event, 16)
	n, err := q.Wait(events, pollux.Forever)
	fmt.Println(n, err, events[0])
	n, err = q.Wait(events, 0) // nothing: the registration is not armed
	fmt.Println(n, err)
	if err := q.Reregister(u, 2, pollux.Readable, pollux.Oneshot); err != nil {
		log.Fatal(err)
	}
	n, err = q.Wait(events, pollux.Forever)
	fmt.Println(n, err, events[0])
	// Output:
	// 1 <nil> token 1: Readable
	// 0 <nil>
	// 1 <nil> token 2: Readable
}

// Errors are of type *OpError and wrap one of this package's errors, or the kernel's.
func ExampleOpError() {
	_, err := pollux.New(pollux.BusyPoll(time.Hour))
	var op *pollux.OpError
	if errors.As(err, &op) {
		fmt.Println(op.Op, errors.Is(err, pollux.ErrBadArgument))
	}
	fmt.Println(err)
	// Output:
	// new true
	// pollux: new: BusyPoll(1h0m0s): bad argument: the range is 0 to 1s
}

// accept accepts a connection and registers it. It neither waits for events nor closes the Poll, so
// it gets a Registrator.
func accept(ln *sock.TCPListener, r pollux.Registrator, token pollux.Token) (*sock.TCPStream, error) {
	c, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	if err := r.Register(c, token, pollux.Readable, pollux.Edge); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// A Registrator is for code that only registers sources.
func ExampleRegistrator() {
	q, err := pollux.New()
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	ln, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	if err := q.Register(ln, 0, pollux.Readable, pollux.Edge); err != nil {
		log.Fatal(err)
	}
	client, err := sock.ConnectTCP(ln.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if _, err := q.Wait(make([]pollux.Event, 1), pollux.Forever); err != nil {
		log.Fatal(err)
	}
	server, err := accept(ln, q.Registrator(), 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(q.Len(), "registrations")
	server.Close() // deregisters it
	fmt.Println(q.Len(), "registration")
	// Output:
	// 2 registrations
	// 1 registration
}
