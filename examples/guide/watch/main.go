//go:build unix

// Watch sends what is written to a named pipe to every connection: a descriptor that
// is no socket, on a loop. See docs/guide.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"syscall"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// openPipe opens a named pipe, for writing too: so reads never return io.EOF when the
// other writers close it.
func openPipe(path string) (*sock.FD, error) {
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return sock.FromFD(uintptr(fd))
}

// news is used by one loop only, so it needs no lock.
type news struct {
	pipe    *sock.FD
	readers map[*loop.Conn]bool
}

// Ready is called when the pipe has become ready. It reads until ErrWouldBlock: only
// after that is the next edge reported.
func (n *news) Ready(pollux.Event) {
	b := make([]byte, 4<<10)
	for {
		k, err := n.pipe.Read(b)
		if errors.Is(err, sock.ErrWouldBlock) {
			return
		}
		if err != nil {
			log.Print(err)
			return
		}
		for c := range n.readers {
			if _, err := c.Write(b[:k]); errors.Is(err, loop.ErrBufferFull) {
				c.Abort() // its peer does not read
			}
		}
	}
}

// reader is a connection.
type reader struct{ news *news }

func (r reader) Opened(c *loop.Conn)                      { r.news.readers[c] = true }
func (r reader) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }
func (r reader) ReadClosed(*loop.Conn)                    {} // keeps the connection open: the peer may still read
func (r reader) Shutdown(c *loop.Conn)                    { c.Close() }
func (r reader) Closed(c *loop.Conn, _ error)             { delete(r.news.readers, c) }

// serve watches the pipe and listens.
func serve(pipe *sock.FD, address string) (*loop.Group, *loop.Listener, error) {
	g, err := loop.NewGroup(loop.Config{Loops: 1, MaxUnsentBytes: 1 << 20})
	if err != nil {
		return nil, nil, err
	}
	n := &news{pipe: pipe, readers: map[*loop.Conn]bool{}}
	if _, err := g.Loops()[0].Watch(context.Background(), pipe, pollux.Readable, n.Ready); err != nil {
		return nil, nil, err
	}
	ln, err := g.Listen("tcp", address, func(*loop.Conn) loop.Handler { return reader{n} })
	return g, ln, err
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: watch PIPE (made by mkfifo)")
		os.Exit(2)
	}
	pipe, err := openPipe(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	g, ln, err := serve(pipe, "127.0.0.1:7000")
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("news at %v, by %s", ln.Addr(), g.Backend())
	log.Fatal(g.Wait()) // until all loops have failed
}
