//go:build unix

package loop_test

import (
	"context"
	"fmt"
	"log"
	"syscall"

	"github.com/pollux-io/pollux/loop"
)

// SyscallConn is for socket options that package loop does not have.
func ExampleConn_SyscallConn() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		log.Fatal(err)
	}
	c, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		log.Fatal(err)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		log.Fatal(err) // the connection is closed
	}
	var option error
	err = raw.Control(func(fd uintptr) {
		option = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_TOS, 0x10)
	})
	fmt.Println(err, option)
	c.Close()
	// Output: <nil> <nil>
}
