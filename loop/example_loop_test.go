package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// State that belongs to a loop needs no lock: its functions run one at a time.
func ExampleLoop_Run() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	l := g.Loops()[0]
	count, done := 0, make(chan int)
	for range 100 {
		l.Run(func() { count++ })
	}
	l.Run(func() { done <- count })
	fmt.Println(<-done)
	// Output: 100
}

// A timer that fires repeatedly.
func ExampleLoop_AfterFunc() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	l := g.Loops()[0]
	done := make(chan struct{})
	l.Run(func() {
		ticks := 0
		var timer *loop.Timer
		timer = l.AfterFunc(time.Millisecond, func() {
			if ticks++; ticks < 3 {
				timer.Reset(time.Millisecond)
				return
			}
			fmt.Println(ticks, "ticks")
			close(done)
		})
	})
	<-done
	// Output: 3 ticks
}

// If Stop returns true, the timer's function is not called.
func ExampleTimer_Stop() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	l := g.Loops()[0]
	done := make(chan struct{})
	l.Run(func() {
		t := l.AfterFunc(0, func() { fmt.Println("never") })
		fmt.Println(t.Stop(), t.Stop())
		l.AfterFunc(time.Millisecond, func() { close(done) })
	})
	<-done
	// Output: true false
}

// The first function may block; the second runs on the loop, with the first one's result.
// ExampleConn_Pause has one that runs as a callback of a connection.
func ExampleOffload() {
	g, err := loop.NewGroup(loop.Config{Loops: 1, OffloadWorkers: 8, OffloadQueue: 100})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	l := g.Loops()[0]
	done := make(chan struct{})
	err = loop.Offload(l,
		func() (int, error) { return 6 * 7, nil },
		func(answer int, err error) {
			fmt.Println(answer, err)
			close(done)
		})
	switch {
	case errors.Is(err, loop.ErrOffloadFull):
		log.Fatal("busy; try again later")
	case err != nil:
		log.Fatal(err)
	}
	<-done
	// Output: 42 <nil>
}

// shout answers datagrams in upper case.
type shout struct{}

func (shout) Packets(p *loop.PacketConn, ms []sock.Message) {
	for i := range ms {
		b := ms[i].Data[:ms[i].N]
		for k, c := range b {
			if 'a' <= c && c <= 'z' {
				b[k] = c - 'a' + 'A'
			}
		}
		p.WriteTo(b, ms[i].Addr) // dropped if the socket's send buffer is full
	}
}

// listener prints the first datagram.
type listener struct{ done chan<- struct{} }

func (h listener) Packets(_ *loop.PacketConn, ms []sock.Message) {
	fmt.Printf("%s\n", ms[0].Data[:ms[0].N])
	close(h.done)
}

// Two UDP sockets: a server, and a client that sends it a request.
func ExampleGroup_ListenPacket() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	server, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return shout{} })
	if err != nil {
		log.Fatal(err)
	}

	done := make(chan struct{})
	_, err = g.ListenPacket("udp", "127.0.0.1:0", func(p *loop.PacketConn) loop.PacketHandler {
		if _, err := p.WriteTo([]byte("hello"), netip.MustParseAddrPort(server.Addr().String())); err != nil {
			log.Fatal(err)
		}
		return listener{done}
	})
	if err != nil {
		log.Fatal(err)
	}
	<-done
	// Output: HELLO
}

// ServePacket is for a UDP socket with options of the caller, such as one that has joined a
// multicast group, or for an inherited one.
func ExampleGroup_ServePacket() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"), sock.ReadBuffer(1<<20))
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan struct{})
	if _, err := g.ServePacket(u, func(*loop.PacketConn) loop.PacketHandler { return listener{done} }); err != nil {
		log.Fatal(err)
	}
	if _, err := u.WriteTo([]byte("to myself"), u.LocalAddr()); err != nil {
		log.Fatal(err)
	}
	<-done
	// Output: to myself
}

// Watch reports the readiness of a socket that is not a connection of the loop. This one asks for
// Readable only, so it is not called because the socket is writable.
func ExampleLoop_Watch() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		log.Fatal(err)
	}
	defer u.Close()

	got := make(chan string, 1)
	w, err := g.Loops()[0].Watch(context.Background(), u, pollux.Readable, func(pollux.Event) {
		b := make([]byte, 64)
		for {
			n, _, err := u.ReadFrom(b)
			if err != nil {
				return // sock.ErrWouldBlock: the next datagram causes the next event
			}
			got <- string(b[:n])
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := u.WriteTo([]byte("hello"), u.LocalAddr()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-got)
	stopped := make(chan struct{})
	w.Stop(func() { close(stopped) })
	<-stopped // now u may be closed
	// Output: hello
}

// A loop's callbacks must not wait: WatchLater calls back.
func ExampleLoop_WatchLater() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		log.Fatal(err)
	}
	l := g.Loops()[0]
	stopped := make(chan struct{})
	l.Run(func() {
		var w *loop.Watch
		w = l.WatchLater(u, pollux.Readable, func(pollux.Event) {}, func(err error) {
			fmt.Println("watched:", err)
			w.Stop(func() {
				u.Close()
				close(stopped)
			})
		})
	})
	<-stopped
	// Output: watched: <nil>
}

// perLoop counts messages without locks: each loop has its own counter.
type perLoop struct{ messages []paddedCount }

// paddedCount is on a cache line of its own, so that loops do not slow each other down.
type paddedCount struct {
	n int
	_ [56]byte
}

func (p *perLoop) Data(c *loop.Conn, b []byte) (int, error) {
	p.messages[c.Loop().Index()].n++
	return c.Write(b)
}

// A slice has a value for each loop. Its elements are accessed on their loops only, so they need no
// lock; Loop.Run reads them.
func ExampleLoop_Index() {
	g, err := loop.NewGroup(loop.Config{Loops: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	p := &perLoop{messages: make([]paddedCount, len(g.Loops()))}
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return p })
	if err != nil {
		log.Fatal(err)
	}
	for range 5 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "x")
		io.ReadFull(c, make([]byte, 1)) // the echo
	}
	counts := make(chan int)
	for _, l := range g.Loops() {
		l.Run(func() { counts <- p.messages[l.Index()].n })
	}
	fmt.Println(<-counts + <-counts)
	// Output: 5
}

// The main function of a server ends with Wait: another goroutine calls Shutdown.
func ExampleGroup_Wait() {
	run := func(ctx context.Context) error {
		g, err := loop.NewGroup(loop.Config{Loops: 1})
		if err != nil {
			return err
		}
		if _, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} }); err != nil {
			return err
		}
		context.AfterFunc(ctx, func() {
			drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			g.Shutdown(drain)
		})
		return g.Wait()
	}
	ctx, cancel := context.WithCancel(context.Background()) // in a program: signal.NotifyContext
	time.AfterFunc(time.Millisecond, cancel)
	fmt.Println(run(ctx))
	// Output: <nil>
}
