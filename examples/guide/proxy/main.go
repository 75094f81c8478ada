// Proxy passes connections on to one server. The two directions are independent of each
// other: a client that does not read its answer can still send, and the other way round. See
// docs/guide.md.
package main

import (
	"errors"
	"flag"
	"io"
	"log"

	"github.com/pollux-io/pollux/loop"
)

// side is the handler of one of two connections, which are on one loop: so no lock is needed.
type side struct {
	other *loop.Conn // where what it receives goes
	peer  *side      // the other's handler
	ended bool       // its peer has sent all it will
}

// Data passes on what has come, and reads no more while too much of it is unsent.
func (s *side) Data(c *loop.Conn, b []byte) (int, error) {
	if _, err := s.other.Write(b); errors.Is(err, loop.ErrBufferFull) {
		return 0, c.Pause() // until the other's Drained; then b comes again
	}
	if s.other.Unsent() > highWatermark {
		c.Pause() // as above
	}
	return len(b), nil // of an other that has failed: its Closed ends this side
}

// Drained is called when most of what was written here is sent: the other side goes on.
func (s *side) Drained(*loop.Conn) { s.other.Resume() }

// ReadClosed passes the end on; at the end of both directions the connections are closed.
func (s *side) ReadClosed(c *loop.Conn) {
	s.ended = true
	s.other.CloseWrite()
	if s.peer.ended {
		c.Close()
		s.other.Close()
	}
}

// Closed closes the other side, after what was written there is sent.
func (s *side) Closed(_ *loop.Conn, why error) {
	if errors.Is(why, io.EOF) {
		why = nil
	}
	s.other.CloseWith(why)
}

const highWatermark = 256 << 10

// serve passes what comes to address on to server.
func serve(g *loop.Group, address, server string) (*loop.Listener, error) {
	return g.Listen("tcp", address, func(client *loop.Conn) loop.Handler {
		near, far := &side{}, &side{other: client}
		near.peer, far.peer = far, near
		client.SetBackpressure(false) // Data and Drained have their own
		client.Pause()                // until the server is there
		accept := func(server *loop.Conn) loop.Handler {
			near.other = server
			return far
		}
		err := client.Loop().Dial("tcp", server, accept, func(_ *loop.Conn, err error) {
			if err != nil {
				client.CloseWith(err)
				return
			}
			if client.SetHandler(near) != nil { // it has gone meanwhile
				near.other.Close()
				return
			}
			client.Resume()
		})
		if err != nil {
			client.CloseWith(err)
		}
		return waiting{}
	})
}

// waiting is the handler of a client whose server is being dialed.
type waiting struct{}

func (waiting) Data(*loop.Conn, []byte) (int, error) { return 0, nil }

func main() {
	listen := flag.String("listen", "127.0.0.1:7000", "where clients come")
	to := flag.String("to", "127.0.0.1:7001", "the server")
	flag.Parse()
	g, err := loop.NewGroup(loop.Config{HighWatermark: highWatermark})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := serve(g, *listen, *to)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("from %v to %s", ln.Addr(), *to)
	select {}
}
