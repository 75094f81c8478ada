// Pollecho is an echo server on the root package and sock only: one goroutine,
// one Poll, edge-triggered. docs/performance.md compares it with an epoll server in C.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

// listening is the listener's token; connections have the tokens above it.
const listening pollux.Token = 0

type conn struct {
	stream *sock.TCPStream
	unsent []byte
}

type server struct {
	q     *pollux.Poll
	ln    *sock.TCPListener
	conns []*conn
	free  []pollux.Token
	buf   []byte
}

func main() {
	port := flag.Uint("port", 7000, "TCP port on 127.0.0.1")
	busy := flag.Duration("busy-poll", -1, "spin this long each time before sleeping; 0: never; negative: adaptively")
	block := flag.Bool("block", false, "block the thread instead of parking the goroutine")
	gc := flag.Duration("gc", 0, "force a garbage collection at this interval, from another goroutine, and print the longest time it took")
	allocs := flag.Bool("allocs", false, "print the number of allocations at the end")
	flag.Parse()

	var options []pollux.Option
	if *busy >= 0 {
		options = append(options, pollux.BusyPoll(*busy))
	}
	if *block {
		options = append(options, pollux.BlockThread())
	}
	s, err := listen(uint16(*port), options)
	if err != nil {
		log.Fatal(err)
	}
	if *gc > 0 {
		go forceGC(*gc)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-stop
		if *allocs {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Fprintf(os.Stderr, "mallocs %d\n", m.Mallocs)
		}
		s.q.Close()
	}()
	if err := s.serve(); !errors.Is(err, pollux.ErrClosed) {
		log.Fatal(err)
	}
}

func forceGC(every time.Duration) {
	worst := time.Duration(0)
	for {
		time.Sleep(every)
		start := time.Now()
		runtime.GC()
		if d := time.Since(start); d > worst {
			worst = d
			fmt.Fprintf(os.Stderr, "longest forced collection so far: %v\n", d)
		}
	}
}

func listen(port uint16, options []pollux.Option) (*server, error) {
	q, err := pollux.New(options...)
	if err != nil {
		return nil, err
	}
	ln, err := sock.ListenTCP(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port))
	if err != nil {
		return nil, err
	}
	if err := q.Register(ln, listening, pollux.Readable, pollux.Edge); err != nil {
		return nil, err
	}
	return &server{q: q, ln: ln, conns: make([]*conn, 1), buf: make([]byte, 64<<10)}, nil
}

func (s *server) serve() error {
	events := make([]pollux.Event, 256)
	for {
		n, err := s.q.Wait(events, pollux.Forever)
		if err != nil {
			return err
		}
		for _, ev := range events[:n] {
			switch {
			case ev.Closed():
			case ev.Token() == listening:
				s.accept()
			default:
				s.echo(ev)
			}
		}
	}
}

func (s *server) accept() {
	for {
		stream, err := s.ln.Accept()
		if errors.Is(err, sock.ErrWouldBlock) {
			return
		}
		if err != nil {
			log.Print(err)
			return
		}
		token := pollux.Token(len(s.conns))
		if n := len(s.free); n > 0 {
			token, s.free = s.free[n-1], s.free[:n-1]
		} else {
			s.conns = append(s.conns, nil)
		}
		s.conns[token] = &conn{stream: stream}
		if err := s.q.Register(stream, token, pollux.Readable|pollux.Writable, pollux.Edge); err != nil {
			log.Print(err)
			s.drop(token)
		}
	}
}

func (s *server) drop(token pollux.Token) {
	s.conns[token].stream.Close()
	s.conns[token] = nil
	s.free = append(s.free, token)
}

func (s *server) echo(ev pollux.Event) {
	c := s.conns[ev.Token()]
	if len(c.unsent) > 0 {
		n, err := c.stream.Write(c.unsent)
		c.unsent = c.unsent[n:]
		if err == sock.ErrWouldBlock {
			return
		}
		if err != nil {
			s.drop(ev.Token())
			return
		}
	} else if !ev.Readable() {
		return
	}
	for {
		n, err := c.stream.Read(s.buf)
		if err == sock.ErrWouldBlock {
			return
		}
		if err != nil {
			s.drop(ev.Token())
			return
		}
		k, err := c.stream.Write(s.buf[:n])
		if err == sock.ErrWouldBlock {
			c.unsent = append([]byte(nil), s.buf[k:n]...)
			return
		}
		if err != nil {
			s.drop(ev.Token())
			return
		}
		if n < len(s.buf) && !ev.ReadClosed() {
			return // a short read: the kernel has no more bytes, and the next ones cause a new event
		}
	}
}
