package simtest

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// These tests are for promises that a random program checks seldom, because a certain sequence of
// steps must come first. What is missing is found at the peer's deadline, which costs no real time.

// patience is how much simulated time a peer waits.
const patience = time.Minute

// scene is a group on a host of a simulated network, and a host for its peers.
type scene struct {
	t            *testing.T
	level        int // of adversity
	n            *simnet.Network
	server, host *simnet.Host // of the group, and of the peers
	g            *loop.Group
}

// inScene runs a test with a group, and cuts off what the test leaves open.
func inScene(t *testing.T, c loop.Config, test func(s *scene)) {
	t.Helper()
	inAdverseScene(t, 0, 0, c, test)
}

// inAdverseScene is inScene with a seed and a level of adversity.
func inAdverseScene(t *testing.T, seed uint64, level int, c loop.Config, test func(s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{t: t, level: level, n: simnet.New(simnet.Config{Seed: seed, Link: simnet.Link{Latency: time.Millisecond}})}
		t.Cleanup(s.n.Close) // after the groups have ended
		s.server, s.host = s.n.Host(), s.n.Host()
		s.g = s.group(s.server, c)
		test(s)
	})
}

// group returns a group of one loop on a host.
func (s *scene) group(h *simnet.Host, c loop.Config) *loop.Group {
	s.t.Helper()
	c.Loops, c.Network = 1, hostNetwork(h, s.level)
	g, err := loop.NewGroup(c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		g.Shutdown(ctx)
	})
	return g
}

// listen has the group listen, and returns the address.
func (s *scene) listen(accept func(*loop.Conn) loop.Handler) (address string) {
	s.t.Helper()
	ln, err := s.g.Listen("tcp", s.server.Addr().String()+":0", accept)
	if err != nil {
		s.t.Fatal(err)
	}
	return ln.Addr().String()
}

// dial returns a peer's connection.
func (s *scene) dial(address string) *simnet.Conn {
	s.t.Helper()
	c, err := s.host.Dial(context.Background(), "tcp", address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// send writes from a peer.
func (s *scene) send(c net.Conn, text string) {
	s.t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// expect checks what a peer receives until the end of the stream.
func (s *scene) expect(c net.Conn, want string) {
	s.t.Helper()
	if got, err := io.ReadAll(c); string(got) != want || err != nil {
		s.t.Fatalf("the peer got %q, %v; want %q and the end of the stream", got, err, want)
	}
}

// scripted is a handler of functions; those that are nil do nothing.
type scripted struct {
	opened, shutdown func(*loop.Conn)
	readClosed       func(*loop.Conn) // nil: Close
	data             func(*loop.Conn, []byte) (int, error)
}

func (h *scripted) Opened(c *loop.Conn)   { call(h.opened, c) }
func (h *scripted) Shutdown(c *loop.Conn) { call(h.shutdown, c) }

func (h *scripted) ReadClosed(c *loop.Conn) {
	if h.readClosed == nil {
		c.Close()
		return
	}
	h.readClosed(c)
}

func (h *scripted) Data(c *loop.Conn, b []byte) (int, error) {
	if h.data == nil {
		return len(b), nil
	}
	return h.data(c, b)
}

func call(f func(*loop.Conn), c *loop.Conn) {
	if f != nil {
		f(c)
	}
}

// The server behind a relay answers once it has read the end of what the client sends, and the
// client reads the answer although it has closed its side.
func TestRelayPassesOnAHalfClose(t *testing.T) {
	inScene(t, loop.Config{}, func(s *scene) {
		upstream, err := s.host.Listen("tcp", s.host.Addr().String()+":0")
		if err != nil {
			t.Fatal(err)
		}
		defer upstream.Close()
		address := s.listen(func(*loop.Conn) loop.Handler {
			h, err := loop.RelayTo("tcp", upstream.Addr().String(), loop.RelayConfig{})
			if err != nil {
				t.Error(err)
			}
			return h
		})
		client := s.dial(address)
		s.send(client, "question")
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		server, err := upstream.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		server.SetDeadline(time.Now().Add(patience))
		s.expect(server, "question")
		s.send(server, "answer")
		server.Close()
		s.expect(client, "answer")
	})
}

// L4: a Resume in a callback has an effect, also if that callback, or one before it, has paused.
func TestL4ResumeInACallback(t *testing.T) {
	answer := func(c *loop.Conn, b []byte) (int, error) {
		c.Write(b)
		return len(b), c.Close()
	}
	for name, h := range map[string]func() *scripted{
		"of Data": func() *scripted {
			again := false
			return &scripted{data: func(c *loop.Conn, b []byte) (int, error) {
				if again {
					return answer(c, b)
				}
				again = true
				return 0, errors.Join(c.Pause(), c.Resume())
			}}
		},
		"of Offload": func() *scripted {
			opened := func(c *loop.Conn) {
				c.Pause()
				loop.Offload(c, func() (int, error) { return 0, nil }, func(int, error) { c.Resume() })
			}
			return &scripted{opened: opened, data: answer}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, loop.Config{}, func(s *scene) {
				peer := s.dial(s.listen(func(*loop.Conn) loop.Handler { return h() }))
				s.send(peer, "x")
				peer.CloseWrite()
				s.expect(peer, "x")
			})
		})
	}
}

// L4: the end of the stream is not delivered while the handler pauses, although the driver has
// reported it: between a Resume and the call of Data with what was left, which pauses again.
func TestL4EndWaitsForResume(t *testing.T) {
	const seeds, sent = 20, 30 << 10
	for seed := range uint64(seeds) {
		inAdverseScene(t, seed, int(seed)%adversities, loop.Config{}, func(s *scene) {
			received, paused := 0, false
			peer := s.dial(s.listen(func(*loop.Conn) loop.Handler {
				return &scripted{
					data: func(c *loop.Conn, b []byte) (int, error) {
						n := (len(b) + 1) / 2
						received += n
						paused = true
						c.Loop().AfterFunc(time.Second, func() { paused = false; c.Resume() })
						return n, c.Pause()
					},
					readClosed: func(c *loop.Conn) {
						if paused || received != sent {
							t.Errorf("seed %d: ReadClosed was called after %d bytes of %d; the handler pauses: %v", seed, received, sent, paused)
						}
						c.Close()
					},
				}
			}))
			s.send(peer, string(make([]byte, sent)))
			peer.CloseWrite()
			s.expect(peer, "")
		})
	}
}

// L4: what Data leaves because too much is unsent is delivered again at the low watermark, although
// nothing more is received, and reading has not stopped because the kernel takes everything at once.
func TestL4LeftAboveTheWatermark(t *testing.T) {
	const high, low, questions, answerBytes = 4 << 10, 1 << 10, 5, 8 << 10
	inScene(t, loop.Config{HighWatermarkBytes: high, LowWatermarkBytes: low}, func(s *scene) {
		peer := s.dial(s.listen(func(*loop.Conn) loop.Handler {
			return &scripted{data: func(c *loop.Conn, b []byte) (n int, err error) {
				for n < len(b) && c.Unsent() <= high { // a byte is a question
					if _, err := c.Write(make([]byte, answerBytes)); err != nil {
						return n, err
					}
					n++
				}
				return n, nil
			}}
		}))
		s.send(peer, string(make([]byte, questions)))
		if n, err := io.ReadFull(peer, make([]byte, questions*answerBytes)); err != nil {
			t.Errorf("the peer got %d bytes of %d: %v", n, questions*answerBytes, err)
		}
	})
}

// L4: two ends that both write more than the other one takes before they read do not wait for each
// other.
func TestL4BothEndsWriteFirst(t *testing.T) {
	const total = 16 << 20 // more than the sockets' buffers take
	inScene(t, loop.Config{}, func(s *scene) {
		done := make(chan string, 2)
		end := func(name string) loop.Handler {
			received := 0
			return &scripted{
				opened: func(c *loop.Conn) {
					if _, err := c.WriteOwned(make([]byte, total), nil); err != nil {
						t.Error(err)
					}
				},
				data: func(c *loop.Conn, b []byte) (int, error) {
					if received += len(b); received == total {
						done <- name
					}
					return len(b), nil
				},
			}
		}
		address := s.listen(func(*loop.Conn) loop.Handler { return end("the accepted end") })
		dialer := s.group(s.host, loop.Config{})
		if _, err := dialer.Dial(context.Background(), "tcp", address, func(*loop.Conn) loop.Handler { return end("the dialed end") }); err != nil {
			t.Fatal(err)
		}
		s.n.NewActor().Wait(patience)
		if len(done) != 2 {
			t.Errorf("%d of two ends have received everything", len(done))
		}
	})
}

// L6: the idle timeout does not end a connection that is active.
func TestL6ActiveConnIsNotIdle(t *testing.T) {
	inScene(t, loop.Config{IdleTimeout: time.Second}, func(s *scene) {
		peer := s.dial(s.listen(func(*loop.Conn) loop.Handler { return &scripted{} }))
		script := s.n.NewActor()
		for range 20 {
			script.Wait(700 * time.Millisecond)
			s.send(peer, "x")
		}
		begun := time.Now()
		s.expect(peer, "")
		if d := time.Since(begun); d < time.Second || d > time.Second+10*time.Millisecond {
			t.Errorf("the connection was closed %v after the last byte, want 1s", d)
		}
	})
}

// L7: a client that waits in the backlog is served when a connection has ended, without waiting for
// the periodic retry.
func TestL7WaitingClientIsServed(t *testing.T) {
	inScene(t, loop.Config{MaxConns: 1}, func(s *scene) {
		address := s.listen(func(*loop.Conn) loop.Handler {
			return &scripted{opened: func(c *loop.Conn) { c.Write([]byte("hello")) }}
		})
		hello := func(c net.Conn) {
			t.Helper()
			if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
		}
		first := s.dial(address)
		hello(first)
		const clients = 5 // more than one, since the driver may have accepted one before the pause
		var waiting []*simnet.Conn
		for range clients {
			waiting = append(waiting, s.dial(address))
		}
		for _, c := range waiting {
			begun := time.Now()
			first.Close()
			hello(c)
			if d := time.Since(begun); d > 100*time.Millisecond {
				t.Errorf("a waiting client was served %v after a connection had ended", d)
			}
			first = c
		}
	})
}

// L8: Shutdown is called for each connection.
func TestL8ShutdownReachesEachConn(t *testing.T) {
	inScene(t, loop.Config{}, func(s *scene) {
		const conns = 3
		called := 0
		address := s.listen(func(*loop.Conn) loop.Handler {
			return &scripted{
				opened:   func(c *loop.Conn) { c.Write([]byte("hello")) },
				shutdown: func(c *loop.Conn) { called++; c.Close() },
			}
		})
		for range conns {
			c := s.dial(address)
			if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.g.Shutdown(ctx); err != nil || called != conns {
			t.Errorf("Shutdown of %d handlers was called, of %d: %v", called, conns, err)
		}
	})
}

// countPackets counts datagrams.
type countPackets struct{ n int }

func (h *countPackets) Packets(_ *loop.PacketConn, ms []sock.Message) { h.n += len(ms) }

// L12: all datagrams of a burst are delivered, although it is more than one turn may receive, and
// the socket is not reported again: all of them arrive during one function of the loop.
func TestL12BurstIsDelivered(t *testing.T) {
	const datagrams = 500
	inScene(t, loop.Config{}, func(s *scene) {
		h := &countPackets{}
		ln, err := s.g.ListenPacket("udp", s.server.Addr().String()+":0", func(*loop.PacketConn) loop.PacketHandler { return h }, sock.ReadBuffer(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		from, err := s.host.ListenPacket("udp", s.host.Addr().String()+":0")
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		s.n.SetLink(s.host, s.server, simnet.Link{}) // what is sent arrives within the call
		s.g.Loops()[0].Run(func() {
			for range datagrams {
				if _, err := from.WriteTo([]byte("x"), ln.Addr()); err != nil {
					t.Error(err)
				}
			}
		})
		s.n.NewActor().Wait(time.Second)
		if h.n != datagrams {
			t.Errorf("%d of %d datagrams were delivered", h.n, datagrams)
		}
	})
}
