package simnet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// moreThanWindow is more bytes than a receive buffer takes, and fewer than a send buffer.
const moreThanWindow = 1_000_000

// awaitError reads until there is an error, and returns it and the time since start.
func awaitError(c *Conn) error {
	for {
		if _, err := c.Read(make([]byte, 1<<16)); err != nil {
			return err
		}
	}
}

// A peer that does not answer ends the connection after the time of its sockets' options.
func TestSilentPeer(t *testing.T) {
	const second = time.Second
	for _, c := range []struct {
		what    string
		prepare func(c *Conn)
		write   bool
		after   time.Duration
	}{
		{"unacknowledged bytes", func(*Conn) {}, true, resendTimeout},
		{"user timeout", func(c *Conn) { setUserTimeout(c, 5*second) }, true, 5 * second},
		{"user timeout beside keep-alive", func(c *Conn) {
			keepAlive(c, 1000, 3, 4)
			setUserTimeout(c, 5*second)
		}, true, 5 * second},
		{"keep-alive", func(c *Conn) { keepAlive(c, 10, 3, 4) }, false, (10 + 4*3) * second},
		{"keep-alive of an accepted connection, with bytes", func(c *Conn) { keepAlive(c, 10, 3, 4) }, true, resendTimeout},
	} {
		t.Run(c.what, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, n *Network) {
				t.Cleanup(n.Close)
				a, b := n.Host(), n.Host()
				client, _ := connect(t, a, b)
				c.prepare(client)
				time.Sleep(time.Minute)
				write(t, client, "acknowledged")
				b.Crash()
				start := time.Now()
				if c.write {
					write(t, client, "lost")
				}
				if err := awaitError(client); !errors.Is(err, syscall.ETIMEDOUT) {
					t.Errorf("Read returned %v, want ETIMEDOUT", err)
				}
				took(t, "the end of the connection", start, c.after)
			})
		})
	}
}

func setUserTimeout(c *Conn, d time.Duration) {
	c.s.host.n.mu.Lock()
	defer c.s.host.n.mu.Unlock()
	c.s.options.userTimeout = int(d / time.Millisecond)
	c.s.protocol.optionLocked(0, 0)
}

func keepAlive(c *Conn, idle, interval time.Duration, count int) {
	c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: idle * time.Second, Interval: interval * time.Second, Count: count})
}

// Probes keep a connection whose peer answers, for days.
func TestKeepAliveOfALivePeer(t *testing.T) {
	bubble(t, Config{Link: Link{Latency: time.Millisecond}}, func(t *testing.T, n *Network) {
		t.Cleanup(n.Close)
		client, server := connect(t, n.Host(), n.Host())
		keepAlive(client, 30, 3, 2)
		time.Sleep(48 * time.Hour)
		write(t, client, "alive")
		if got := read(t, server); got != "alive" {
			t.Errorf("read %q", got)
		}
	})
}

// A window that stays closed is legal as long as the peer's host answers.
func TestClosedWindow(t *testing.T) {
	for _, c := range []struct {
		what  string
		crash bool
		user  time.Duration
		ends  bool
	}{
		{"a peer that does not read", false, 0, false},
		{"a peer that does not read, with a user timeout", false, time.Minute, true},
		{"a peer that has vanished", true, 0, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, n *Network) {
				t.Cleanup(n.Close)
				a, b := n.Host(), n.Host()
				client, server := connect(t, a, b)
				setUserTimeout(client, c.user)
				write(t, client, string(make([]byte, 300_000))) // more than the window
				if c.crash {
					b.Crash()
				}
				client.SetReadDeadline(time.Now().Add(24 * time.Hour))
				err := awaitError(client)
				if ended := errors.Is(err, syscall.ETIMEDOUT); ended != c.ends {
					t.Fatalf("after a day Read returned %v", err)
				}
				if c.ends {
					return
				}
				client.CloseWrite()
				got, err := io.ReadAll(server)
				if len(got) != 300_000 || err != nil {
					t.Errorf("%d bytes arrived, %v", len(got), err)
				}
			})
		})
	}
}

// After a restart, a host answers packets of old connections with a reset; bytes that were lost are
// sent again until then.
func TestCrashAndRestart(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		t.Cleanup(n.Close)
		a, b := n.Host(), n.Host()
		client, server := connect(t, a, b)
		idle, _ := connect(t, a, b)
		l, err := b.Listen("tcp", ":80")
		must(t, err)
		b.Crash()
		for what, err := range map[string]error{
			"Read": awaitError(server),
			"Accept": func() error {
				_, err := l.Accept()
				return err
			}(),
			"Listen": func() error {
				_, err := b.Listen("tcp", ":81")
				return err
			}(),
		} {
			if !errors.Is(err, syscall.ENETDOWN) {
				t.Errorf("%s on a host that has crashed returned %v, want ENETDOWN", what, err)
			}
		}
		must(t, l.Close())
		start := time.Now()
		write(t, client, "lost")
		time.Sleep(10 * time.Second)
		b.Restart()
		again, err := b.Listen("tcp", ":80")
		must(t, err)
		t.Cleanup(func() { again.Close() })
		if err := awaitError(client); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Read returned %v, want ECONNRESET", err)
		}
		// It was sent at 0, and again after 0.2, 0.6, 1.4, 3, 6.2 and 12.6 s.
		took(t, "the reset", start, 12_600*time.Millisecond)
		if _, err := idle.s.Send([][]byte{[]byte("x")}, 0); err != 0 {
			t.Errorf("Send on a half-open connection: %v", err)
		}
		if err := awaitError(idle); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Read on a half-open connection returned %v, want ECONNRESET", err)
		}
		c, err := a.Dial(t.Context(), "tcp", "10.0.0.2:80")
		must(t, err)
		must(t, c.Close())
	})
}

// A listener whose backlog is full answers a SYN that is sent again, or connecting times out.
func TestFullBacklog(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		t.Cleanup(n.Close)
		a, b := n.Host(), n.Host()
		l, err := b.Listen("tcp", ":80")
		must(t, err)
		t.Cleanup(func() { l.Close() })
		l.s.Listen(0)
		dial := func() (*Conn, error) {
			c, err := a.Dial(t.Context(), "tcp", "10.0.0.2:80")
			if err == nil {
				t.Cleanup(func() { c.Close() })
			}
			return c, err
		}
		if _, err := dial(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		time.AfterFunc(2*time.Second, func() {
			c, err := l.Accept()
			must(t, err)
			t.Cleanup(func() { c.Close() })
		})
		if _, err := dial(); err != nil {
			t.Fatal(err)
		}
		took(t, "the third SYN", start, 3*time.Second)
		start = time.Now()
		if _, err := dial(); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("Dial returned %v, want ETIMEDOUT", err)
		}
		took(t, "the failure", start, connectTimeout)
	})
}

// Nothing of a connection remains in the network once both ends are closed.
func TestNothingRemains(t *testing.T) {
	for _, c := range []struct {
		link  Link
		after time.Duration
	}{
		{Link{}, time.Second},
		{Link{Latency: time.Millisecond}, time.Second},
		{Link{Loss: 0.3, Latency: time.Millisecond}, time.Hour},
	} {
		bubble(t, Config{Link: c.link}, func(t *testing.T, n *Network) {
			a, b := n.Host(), n.Host()
			for i := range 20 {
				client, server := connect(t, a, b)
				keepAlive(client, 1000, 10, 10)
				write(t, client, "request")
				if i%3 == 0 {
					write(t, server, "answer")
				}
				if i%2 == 0 {
					client.SetLinger(0)
				}
				client.Close()
				time.Sleep(time.Second)
				server.Close()
			}
			time.Sleep(c.after)
			n.mu.Lock()
			if len(n.events) != 0 || len(a.sockets)+len(b.sockets) != 0 || len(a.ports)+len(b.ports) != 0 {
				t.Errorf("%d events, %d sockets and %d ports remain", len(n.events), len(a.sockets)+len(b.sockets), len(a.ports)+len(b.ports))
			}
			n.mu.Unlock()
			n.Close()
		})
	}
}

// The rest of a connection that is closed, with bytes that the peer does not take, ends with its host.
func TestCrashWithUnsentBytes(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		t.Cleanup(n.Close)
		a, b := n.Host(), n.Host()
		client, server := connect(t, a, b)
		write(t, client, string(make([]byte, moreThanWindow)))
		must(t, client.Close())
		a.Crash()
		a.Restart()
		server.SetReadDeadline(time.Now().Add(24 * time.Hour))
		total := 0
		for {
			k, err := server.Read(make([]byte, 1<<16))
			if total += k; err != nil {
				if !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("Read returned %v, want ECONNRESET: an acknowledgement finds no connection", err)
				}
				break
			}
		}
		if total != server.s.options.receiveBuffer/2 {
			t.Errorf("%d bytes arrived, want those of the first window", total)
		}
	})
}

// Connections that are not established yet count for the backlog; those whose client has vanished end
// after a time.
func TestEmbryos(t *testing.T) {
	bubble(t, Config{Link: Link{Latency: 10 * time.Millisecond}}, func(t *testing.T, n *Network) {
		t.Cleanup(n.Close)
		a, b := n.Host(), n.Host()
		l, err := b.Listen("tcp", ":80")
		must(t, err)
		t.Cleanup(func() { l.Close() })
		l.s.Listen(2)
		to := address{ip: netip.AddrPortFrom(b.Addr(), 80)}
		for range 5 {
			s, fd, err := a.openFor("dial", "tcp", to)
			must(t, err)
			t.Cleanup(func() { s.Close(fd) })
			s.Connect(s.sockaddr(to))
		}
		embryos := func() (embryos, accepts int) {
			n.mu.Lock()
			defer n.mu.Unlock()
			return len(l.s.stream().embryos), len(l.s.stream().accepts)
		}
		time.Sleep(15 * time.Millisecond)
		if e, k := embryos(); e != 3 || k != 0 {
			t.Errorf("%d embryos and %d connections, want 3 and 0", e, k)
		}
		a.Crash()
		// The SYN-ACK is sent again after 1, 2, 4, 8 and 16 s, and then given up.
		time.Sleep(30 * time.Second)
		if e, k := embryos(); e != 3 || k != 0 {
			t.Errorf("%d embryos and %d connections, want 3 and 0", e, k)
		}
		time.Sleep(2 * time.Second)
		if e, k := embryos(); e != 0 || k != 0 {
			t.Errorf("%d embryos and %d connections, want none", e, k)
		}
	})
}

// The server's end of a connection that the client does not complete is not an open socket for ever.
func TestDroppedEmbryoIsClosed(t *testing.T) {
	for name, end := range map[string]func(n *Network, client *Host){
		"no answer": func(*Network, *Host) {},
		"reset": func(n *Network, client *Host) {
			client.Crash()
			client.Restart()
			n.SetRule(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, n *Network) {
				a, b := n.Host(), n.Host()
				l, err := b.Listen("tcp", ":80")
				must(t, err)
				defer l.Close()
				n.SetRule(func(s *Segment) Verdict {
					if s.Kind == KindSYNACK {
						return Drop
					}
					return Pass
				})
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				defer cancel()
				if _, err := a.Dial(ctx, "tcp", b.String()+":80"); err == nil {
					t.Fatal("connected without a SYN-ACK")
				}
				if open := b.OpenSockets(); len(open) != 2 {
					t.Fatalf("open at first: %q, want the listener and the connection", open)
				}
				end(n, a)
				time.Sleep(10 * time.Minute)
				if open := b.OpenSockets(); len(open) != 1 {
					t.Errorf("open: %q, want the listener only", open)
				}
			})
		})
	}
}
