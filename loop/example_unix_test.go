//go:build unix

package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// ServeUnix serves a listening Unix socket that the caller has created.
func ExampleGroup_ServeUnix() {
	dir, err := os.MkdirTemp("", "pollux")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	socket, err := sock.ListenUnix(filepath.Join(dir, "echo.sock"))
	if err != nil {
		log.Fatal(err)
	}
	ln, err := g.ServeUnix(socket, func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ask(ln.Addr(), "hello"))
	// Output: hello
}

// The loop handles the first line; the rest is for code that needs a net.Conn.
func ExampleConn_Detach() {
	const upgrade = "UPGRADE\n"
	addr, end := exampleServer(loop.Config{}, func(*loop.Conn) loop.Handler {
		return handlerFunc(func(c *loop.Conn, b []byte) (int, error) {
			if !bytes.HasPrefix(b, []byte(upgrade)) {
				return 0, nil
			}
			io.WriteString(c, "now plain: ") // sent before the connection is detached
			return len(upgrade), c.Detach(func(conn net.Conn, unread []byte, err error) {
				if err != nil {
					log.Print(err) // the connection ended first
					return
				}
				go plain(conn, unread)
			})
		})
	})
	defer end()
	fmt.Println(ask(addr, upgrade+"hello"))
	// Output: now plain: hello
}

// plain echoes, on a goroutine of its own. The bytes that the loop had received precede those
// that are read from the connection.
func plain(conn net.Conn, unread []byte) {
	defer conn.Close()
	if _, err := io.Copy(conn, io.MultiReader(bytes.NewReader(unread), conn)); err != nil {
		log.Print(err)
	}
}

// Any descriptor whose readiness the kernel reports can be watched: here a pipe.
func ExampleLoop_Watch_pipe() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	r, w, err := sock.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	ended := make(chan error, 1)
	closed := false
	watch, err := g.Loops()[0].Watch(context.Background(), r, pollux.Readable, func(pollux.Event) {
		b := make([]byte, 64)
		for !closed { // some kernels report EOF more than once
			n, err := r.Read(b)
			switch {
			case errors.Is(err, sock.ErrWouldBlock):
				return
			case err != nil:
				closed = true
				ended <- err
				return
			}
			fmt.Printf("%s\n", b[:n])
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	io.WriteString(w, "through the pipe")
	w.Close()
	fmt.Println(<-ended)
	stopped := make(chan struct{})
	watch.Stop(func() { close(stopped) })
	<-stopped
	// Output:
	// through the pipe
	// EOF
}
