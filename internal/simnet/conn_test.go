package simnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

// networks are those of streams, with an address to listen on.
var networks = map[string]string{"tcp": "10.0.0.1:80", "tcp6": "[::1]:80", "unix": "@name"}

// connectOn returns the ends of a connection within a host.
func connectOn(t *testing.T, h *Host, network string) (client, server *Conn) {
	t.Helper()
	l, err := h.Listen(network, networks[network])
	must(t, err)
	defer l.Close()
	client, err = h.Dial(context.Background(), network, l.Addr().String())
	must(t, err)
	t.Cleanup(func() { client.Close() })
	s, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return client, s.(*Conn)
}

func onNetworks(t *testing.T, f func(t *testing.T, network string, n *Network, h *Host)) {
	for network := range networks {
		t.Run(network, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, n *Network) {
				t.Cleanup(n.Close)
				f(t, network, n, n.Host())
			})
		})
	}
}

func TestBytesArriveInOrder(t *testing.T) {
	onNetworks(t, func(t *testing.T, network string, _ *Network, h *Host) {
		client, server := connectOn(t, h, network)
		sent := make([]byte, 10<<20) // more than the buffers hold
		for i := range sent {
			sent[i] = byte(i * 7 >> (i % 5))
		}
		go func() {
			if n, err := client.Write(sent); n != len(sent) || err != nil {
				t.Errorf("Write: %d, %v", n, err)
			}
			client.CloseWrite()
		}()
		got, err := io.ReadAll(server)
		must(t, err)
		if !bytes.Equal(got, sent) {
			t.Errorf("%d bytes arrived, of %d, or in another order", len(got), len(sent))
		}
		write(t, server, "answer")
		if got := read(t, client); got != "answer" {
			t.Errorf("read %q", got)
		}
	})
}

func TestDeadlines(t *testing.T) {
	onNetworks(t, func(t *testing.T, network string, n *Network, h *Host) {
		client, server := connectOn(t, h, network)
		b := make([]byte, 1<<20)
		expired := func(what string, want time.Duration, f func() error) {
			t.Helper()
			start := time.Now()
			err := f()
			var e net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &e) || !e.Timeout() {
				t.Errorf("%s returned %v, want a timeout", what, err)
			}
			took(t, what, start, want)
		}
		readOnce := func() error { _, err := client.Read(b); return err }
		fill := func() error {
			for {
				if _, err := client.Write(b); err != nil {
					return err
				}
			}
		}
		client.SetReadDeadline(time.Now().Add(time.Second))
		expired("Read", time.Second, readOnce)
		expired("a second Read", 0, readOnce)
		client.SetReadDeadline(time.Time{})
		client.SetWriteDeadline(time.Now().Add(time.Second))
		expired("Write", time.Second, fill)
		client.SetWriteDeadline(time.Time{})
		// A deadline that is set during the call, and one that moves.
		client.SetReadDeadline(time.Now().Add(time.Hour))
		time.AfterFunc(time.Second, func() { client.SetDeadline(time.Now().Add(time.Minute)) })
		expired("Read with a moving deadline", time.Second+time.Minute, readOnce)
		client.SetDeadline(time.Time{})
		write(t, server, "late")
		if got := read(t, client); got != "late" {
			t.Errorf("read %q", got)
		}
	})
}

// Close ends calls in progress; later calls are ErrClosed, too.
func TestCloseEndsCalls(t *testing.T) {
	onNetworks(t, func(t *testing.T, network string, _ *Network, h *Host) {
		client, server := connectOn(t, h, network)
		l, err := h.Listen(network, networks[network])
		must(t, err)
		calls := map[string]func() error{
			"Read":   func() error { _, err := client.Read(make([]byte, 1)); return err },
			"Write":  func() error { _, err := client.Write(make([]byte, 10<<20)); return err },
			"Accept": func() error { _, err := l.Accept(); return err },
		}
		var wg sync.WaitGroup
		for what, f := range calls {
			wg.Go(func() {
				if err := f(); !isClosed(err) {
					t.Errorf("%s returned %v, want net.ErrClosed", what, err)
				}
			})
		}
		time.Sleep(time.Second)
		must(t, client.Close())
		must(t, l.Close())
		wg.Wait()
		calls["Close"] = client.Close
		calls["CloseWrite"] = client.CloseWrite
		calls["SetDeadline"] = func() error { return client.SetDeadline(time.Time{}) }
		calls["SetNoDelay"] = func() error { return client.SetNoDelay(true) }
		calls["SetLinger"] = func() error { return client.SetLinger(0) }
		calls["SetKeepAliveConfig"] = func() error { return client.SetKeepAliveConfig(net.KeepAliveConfig{}) }
		for what, f := range calls {
			if err := f(); !isClosed(err) {
				t.Errorf("%s after Close returned %v, want net.ErrClosed", what, err)
			}
		}
		server.Close()
		if h.Descriptors() != 0 {
			t.Errorf("%d descriptors are open", h.Descriptors())
		}
	})
}

func TestDialEnds(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		defer n.Close()
		a, b := n.Host(), n.Host()
		for _, c := range []struct {
			what, network, address string
			want                   error
			after                  time.Duration
		}{
			{"no listener", "tcp", "10.0.0.2:80", syscall.ECONNREFUSED, 0},
			{"no host", "tcp", "10.0.0.9:80", syscall.ETIMEDOUT, connectTimeout},
			{"no route", "tcp", "[2001:db8::1]:80", syscall.ENETUNREACH, 0},
			{"no name", "unix", "/missing", syscall.ENOENT, 0},
			{"a network that is unknown", "ip", "10.0.0.2", net.UnknownNetworkError("ip"), 0},
		} {
			start := time.Now()
			_, err := a.Dial(t.Context(), c.network, c.address)
			var op *net.OpError
			if !errors.Is(err, c.want) || !errors.As(err, &op) || op.Op != "dial" {
				t.Errorf("%s: Dial returned %v, want %v", c.what, err, c.want)
			}
			took(t, c.what, start, c.after)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := a.Dial(ctx, "tcp", "10.0.0.9:80"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial returned %v, want the context's error", err)
		}
		took(t, "Dial until the context ended", start, time.Second)
		if k := a.Descriptors() + b.Descriptors(); k != 0 {
			t.Errorf("%d descriptors are open", k)
		}
	})
}

func TestDescriptorLimit(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		defer n.Close()
		a, b := n.Host(), n.Host()
		l, err := b.Listen("tcp", ":80")
		must(t, err)
		defer l.Close()
		b.SetMaxDescriptors(1)
		c, err := a.Dial(t.Context(), "tcp", "10.0.0.2:80")
		must(t, err)
		defer c.Close()
		if _, err := l.Accept(); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("Accept returned %v, want EMFILE", err)
		}
		if _, err := b.Listen("tcp", ":81"); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("Listen returned %v, want EMFILE", err)
		}
		b.SetMaxDescriptors(2)
		s, err := l.Accept() // it has stayed in the queue
		must(t, err)
		if _, e := s.(*Conn).s.Dup(); e != syscall.EMFILE {
			t.Errorf("Dup returned %v, want EMFILE", e)
		}
		must(t, s.Close())
		if b.Descriptors() != 1 {
			t.Errorf("%d descriptors are open, want 1", b.Descriptors())
		}
	})
}

// Several listeners with SO_REUSEPORT each get connections; ephemeral ports run out and come back.
func TestEphemeralPorts(t *testing.T) {
	testkit.CheckLeaks(t)
	n := New(Config{Manual: true})
	defer n.Close()
	h := n.Host()
	var all []*PacketConn
	for {
		c, err := h.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			if !errors.Is(err, syscall.EADDRINUSE) {
				t.Fatal(err)
			}
			break
		}
		all = append(all, c)
	}
	if want := lastEphemeral - firstEphemeral + 1; len(all) != want {
		t.Errorf("%d ports, want %d", len(all), want)
	}
	free := all[100].LocalAddr().String()
	all[100].Close()
	c, err := h.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	if c.LocalAddr().String() != free {
		t.Errorf("the next port is %v, want the only free one, %v", c.LocalAddr(), free)
	}
	all[100] = c
	for _, c := range all {
		c.Close()
	}
	if len(h.ports) != 0 || len(h.sockets) != 0 {
		t.Errorf("%d ports and %d sockets remain", len(h.ports), len(h.sockets))
	}
}

func TestHostAddresses(t *testing.T) {
	n := New(Config{})
	defer n.Close()
	first := n.Host(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1"))
	if second := n.Host(); second.Addr().String() != "10.0.0.2" {
		t.Errorf("the second host has %v", second.Addr())
	}
	for _, bad := range []string{"10.0.0.1", "127.0.0.1", "::", "224.0.0.1", "::ffff:10.0.0.2", "2001:db8::1"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a host with %s was made", bad)
				}
			}()
			n.Host(netip.MustParseAddr(bad))
		}()
	}
	if first.String() != "10.0.0.1" || (*Host)(nil).String() != "nowhere" {
		t.Errorf("the first host is %v", first)
	}
}

// net/http works over the ends.
func TestHTTP(t *testing.T) {
	bubble(t, Config{Link: Link{Latency: 10 * time.Millisecond, BytesPerSecond: 1 << 20}}, func(t *testing.T, n *Network) {
		a, b := n.Host(), n.Host()
		l, err := b.Listen("tcp", ":80")
		must(t, err)
		body := strings.Repeat("0123456789", 10_000)
		server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			w.Write(b)
		})}
		var wg sync.WaitGroup
		wg.Go(func() { server.Serve(l) })
		transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return a.Dial(ctx, network, address)
		}}
		client := http.Client{Transport: transport}
		for range 3 {
			start := time.Now()
			resp, err := client.Post("http://10.0.0.2:80/", "text/plain", strings.NewReader(body))
			must(t, err)
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			must(t, err)
			if string(got) != body {
				t.Errorf("got %d bytes, want %d", len(got), len(body))
			}
			if d := time.Since(start); d < 100*time.Millisecond || d > 400*time.Millisecond {
				t.Errorf("the request took %v; 100 kB each way at 1 MiB/s take 0.1 to 0.2 s", d)
			}
		}
		transport.CloseIdleConnections()
		server.Close()
		wg.Wait()
		synctest.Wait()
		n.Close()
		if k := a.Descriptors() + b.Descriptors(); k != 0 {
			t.Errorf("%d descriptors are open", k)
		}
	})
}

// Close during a raw call leaves the descriptor open until that call returns.
func TestCloseDuringRawCall(t *testing.T) {
	onNetworks(t, func(t *testing.T, network string, _ *Network, h *Host) {
		client, _ := connectOn(t, h, network)
		raw, err := client.SyscallConn()
		must(t, err)
		before := h.Descriptors()
		must(t, raw.Control(func(uintptr) {
			must(t, client.Close())
			if k := h.Descriptors(); k != before {
				t.Errorf("%d descriptors are open during the call, want %d", k, before)
			}
		}))
		if k := h.Descriptors(); k != before-1 {
			t.Errorf("%d descriptors are open after the call, want %d", k, before-1)
		}
		if err := raw.Control(func(uintptr) { t.Error("a raw call after Close") }); !isClosed(err) {
			t.Errorf("Control returned %v, want net.ErrClosed", err)
		}
	})
}

// Close ends the calls of one end while a duplicate stays open.
func TestCloseOfADuplicate(t *testing.T) {
	onNetworks(t, func(t *testing.T, network string, _ *Network, h *Host) {
		client, server := connectOn(t, h, network)
		c, errno := client.s.NetConn()
		if errno != 0 {
			t.Fatal(errno)
		}
		time.AfterFunc(time.Second, func() { client.Close() })
		if _, err := client.Read(make([]byte, 1)); !isClosed(err) {
			t.Errorf("Read returned %v, want net.ErrClosed", err)
		}
		write(t, c, "still open")
		if got := read(t, server); got != "still open" {
			t.Errorf("read %q", got)
		}
		must(t, c.Close())
	})
}

// Errors name the addresses and the system call as those of package net do.
func TestErrorTexts(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		a, b := n.Host(), n.Host()
		_, refused := a.Dial(t.Context(), "tcp", "10.0.0.2:80")
		_, name := a.Dial(t.Context(), "tcp", "example.org:80")
		_, foreign := a.Listen("tcp", "10.0.0.2:80")
		l, err := a.Listen("tcp", "10.0.0.1:90")
		must(t, err)
		defer l.Close()
		_, bound := a.Listen("tcp", "10.0.0.1:90")
		client, server := connect(t, a, b)
		must(t, server.SetLinger(0))
		must(t, server.Close())
		_, reset := client.Read(make([]byte, 1))
		must(t, client.Close())
		_, closed := client.Write([]byte("x"))
		a.SetMaxDescriptors(0)
		_, full := a.ListenPacket("udp", ":53")
		ends := fmt.Sprintf("tcp %v->%v", client.LocalAddr(), client.RemoteAddr())
		for _, x := range []struct {
			err  error
			want string
		}{
			{refused, "dial tcp 10.0.0.2:80: connect: " + syscall.ECONNREFUSED.Error()},
			{name, "dial tcp: address example.org:80: not an IP address and a port; a simulated network has no names"},
			{foreign, "listen tcp 10.0.0.2:80: bind: " + syscall.EADDRNOTAVAIL.Error()},
			{bound, "listen tcp 10.0.0.1:90: bind: " + syscall.EADDRINUSE.Error()},
			{reset, "read " + ends + ": read: " + syscall.ECONNRESET.Error()},
			{closed, "write " + ends + ": " + net.ErrClosed.Error()},
			{full, "listen udp [::]:53: socket: " + syscall.EMFILE.Error()},
		} {
			if x.err == nil || x.err.Error() != x.want {
				t.Errorf("got %q, want %q", x.err, x.want)
			}
		}
	})
}

// A context that has ended before Dial has nothing sent.
func TestDialAfterContext(t *testing.T) {
	n := New(Config{Manual: true})
	defer n.Close()
	a, b := n.Host(), n.Host()
	l, err := b.Listen("tcp", ":80")
	must(t, err)
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 20 {
		if _, err := a.Dial(ctx, "tcp", b.String()+":80"); !errors.Is(err, context.Canceled) {
			t.Errorf("Dial returned %v, want context.Canceled", err)
		}
	}
	if trace := n.Trace(); trace != "" {
		t.Errorf("something was sent:\n%s", trace)
	}
}
