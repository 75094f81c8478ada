// Proxy forwards connections to one server. The two directions are independent of each
// other: a client that does not read its answer can still send, and vice versa. See
// docs/guide.md.
package main

import (
	"errors"
	"flag"
	"io"
	"log"

	"github.com/pollux-io/pollux/loop"
)

// side is the handler of one of two connections. Both are on one loop, so no lock is needed.
type side struct {
	other *loop.Conn // gets what this side receives
	peer  *side      // the handler of other
	ended bool       // the peer of this side has half-closed
}

// Data forwards b, and pauses while too much of it is unsent.
func (s *side) Data(c *loop.Conn, b []byte) (int, error) {
	if _, err := s.other.Write(b); errors.Is(err, loop.ErrBufferFull) {
		return 0, c.Pause() // until Drained of the other side; then Data gets b again
	}
	if s.other.Unsent() > highWatermark {
		c.Pause() // until Drained of the other side
	}
	return len(b), nil // if other has failed, its Closed ends this side
}

// Drained is called when most of what was written here is sent: the other side reads again.
func (s *side) Drained(*loop.Conn) { s.other.Resume() }

// ReadClosed forwards the half-close; when both directions have ended, it closes both connections.
func (s *side) ReadClosed(c *loop.Conn) {
	s.ended = true
	s.other.CloseWrite()
	if s.peer.ended {
		c.Close()
		s.other.Close()
	}
}

// Closed closes the other side, after its unsent bytes are sent.
func (s *side) Closed(_ *loop.Conn, why error) {
	if errors.Is(why, io.EOF) {
		why = nil
	}
	s.other.CloseWith(why)
}

const highWatermark = 256 << 10

// serve forwards the connections to address to server.
func serve(g *loop.Group, address, server string) (*loop.Listener, error) {
	return g.Listen("tcp", address, func(client *loop.Conn) loop.Handler {
		near, far := &side{}, &side{other: client}
		near.peer, far.peer = far, near
		client.SetBackpressure(false) // Data and Drained do it
		client.Pause()                // until the server is connected
		accept := func(server *loop.Conn) loop.Handler {
			near.other = server
			return far
		}
		// If the client is lost meanwhile, its context cancels the dial.
		err := client.Loop().Dial(client.Context(), "tcp", server, accept, func(_ *loop.Conn, err error) {
			if err != nil {
				client.CloseWith(err)
				return
			}
			if client.SetHandler(near) != nil { // the client was closed meanwhile
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
	listen := flag.String("listen", "127.0.0.1:7000", "listen for clients at this `address`")
	to := flag.String("to", "127.0.0.1:7001", "forward to the server at this `address`")
	flag.Parse()
	g, err := loop.NewGroup(loop.Config{HighWatermarkBytes: highWatermark})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := serve(g, *listen, *to)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("from %v to %s", ln.Addr(), *to)
	log.Fatal(g.Wait()) // until all loops have failed
}
