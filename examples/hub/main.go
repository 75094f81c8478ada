// Hub is a chat server for clients such as nc or telnet. A line that a client sends goes to
// everyone in its room, which "/join ROOM" changes. Clients that do not read are disconnected.
//
//	go run ./examples/hub -listen 127.0.0.1:9000
//	nc 127.0.0.1 9000
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/pollux-io/pollux/loop"
)

const (
	maxLine  = 4 << 10          // bytes
	drainFor = 10 * time.Second // how long clients may take what is unsent when the server stops
)

func main() {
	addr := flag.String("listen", "127.0.0.1:9000", "`address` to listen on")
	maxConns := flag.Int("max-conns", 0, "maximum number of clients; 0: as many as there are descriptors")
	maxUnsent := flag.Int("max-unsent", 256<<10, "`bytes` unsent to a client above which it is disconnected")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	h := &hub{rooms: map[string]*loop.Fanout{}, config: loop.FanoutConfig{MaxUnsentBytes: *maxUnsent}}
	err := h.run(ctx, *addr, loop.Config{MaxConns: *maxConns}, func(a net.Addr) { log.Printf("the hub listens on %v", a) })
	if err != nil {
		log.Fatal(err)
	}
}

// hub has the rooms that have clients.
type hub struct {
	config loop.FanoutConfig

	mu    sync.Mutex
	rooms map[string]*loop.Fanout
}

// run serves clients until ctx ends, and then sends what is unsent.
func (h *hub) run(ctx context.Context, addr string, config loop.Config, listening func(net.Addr)) error {
	g, err := loop.NewGroup(config)
	if err != nil {
		return err
	}
	ln, err := g.Listen("tcp", addr, func(*loop.Conn) loop.Handler { return &client{hub: h} })
	if err == nil {
		listening(ln.Addr())
		<-ctx.Done()
	}
	drain, cancel := context.WithTimeout(context.Background(), drainFor)
	defer cancel()
	return errors.Join(err, g.Shutdown(drain))
}

// join moves a client to another room, or to none if the name is "".
func (h *hub) join(c *loop.Conn, x *client, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x.room != nil {
		if x.room.Remove(c); x.room.Len() == 0 && h.rooms[x.name] == x.room {
			delete(h.rooms, x.name)
		}
	}
	if x.name, x.room = name, nil; name == "" {
		return
	}
	room := h.rooms[name]
	if room == nil {
		room = loop.NewFanout(h.config)
		h.rooms[name] = room
	}
	x.room = room
	room.Add(c) // it fails only if c is being closed: then Closed follows
}

// client is the handler of one connection.
type client struct {
	hub  *hub
	name string // of the room
	room *loop.Fanout
}

func (x *client) Opened(c *loop.Conn) {
	x.hub.join(c, x, "lobby")
	c.Write([]byte("* you are in lobby; /join ROOM changes that\n"))
}

// Data handles whole lines, and leaves the rest for the next call.
func (x *client) Data(c *loop.Conn, b []byte) (consumed int, err error) {
	for {
		line, rest, whole := bytes.Cut(b[consumed:], []byte("\n"))
		if len(line) > maxLine {
			return consumed, fmt.Errorf("a line is longer than %d bytes", maxLine)
		}
		if !whole {
			return consumed, nil
		}
		consumed = len(b) - len(rest)
		x.line(c, bytes.TrimSuffix(line, []byte("\r")))
	}
}

func (x *client) line(c *loop.Conn, line []byte) {
	if room, ok := bytes.CutPrefix(line, []byte("/join ")); ok && len(room) > 0 {
		x.hub.join(c, x, string(room))
		fmt.Fprintf(c, "* you are in %s\n", room)
		return
	}
	message := fmt.Appendf(nil, "%v: %s\n", c.RemoteAddr(), line)
	if err := x.room.Send(loop.NewShared(message)); err != nil { // the room gets more than its loops can send
		fmt.Fprintf(c, "* not sent: %v\n", err)
	}
}

// Shutdown is called when the server stops.
func (x *client) Shutdown(c *loop.Conn) {
	c.Write([]byte("* the server stops\n"))
	c.Close()
}

func (x *client) Closed(c *loop.Conn, why error) {
	x.hub.join(c, x, "")
	if why != nil && !errors.Is(why, io.EOF) {
		log.Printf("%v: %v", c.RemoteAddr(), why)
	}
}
