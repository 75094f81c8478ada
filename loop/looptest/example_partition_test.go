package looptest_test

import (
	"bufio"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// testPartition cuts the network between a client and its server for a time, in both directions: for
// less than the server's idle timeout, and for more.
func testPartition(t *testing.T) {
	for _, x := range []struct {
		lasts    time.Duration
		answered bool
	}{
		{10 * time.Second, true}, {time.Minute, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := looptest.New(t, looptest.Config{Seed: 1, Link: looptest.Link{Latency: 20 * time.Millisecond, Jitter: 5 * time.Millisecond}})
			server, client := n.Host(), n.Host()
			g := server.NewGroup(loop.Config{IdleTimeout: 30 * time.Second})
			if _, err := g.Listen("tcp", ":7000", func(*loop.Conn) loop.Handler { return greeter{} }); err != nil {
				t.Fatal(err)
			}
			c, err := client.Dial("tcp", "10.0.0.1:7000")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()

			n.Partition(server, client)
			io.WriteString(c, "castor\n") // waits in the client's host
			time.Sleep(x.lasts)
			n.Heal(server, client)
			answer, err := bufio.NewReader(c).ReadString('\n')
			if (err == nil) != x.answered || x.answered && answer != "hello castor\n" {
				t.Errorf("after a partition of %v the client got %q, %v", x.lasts, answer, err)
			}
		})
	}
}

// A partition loses no bytes of a connection, if nobody loses patience: TCP sends them again.
func Example_partition() {
	testPartition(t)
}
