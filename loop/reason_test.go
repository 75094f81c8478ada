package loop_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Closed gets the reason passed to CloseWith or AbortWith.
func TestL1ReasonsReachClosed(t *testing.T) {
	reason, second := errors.New("kicked"), errors.New("kicked again")
	for what, x := range map[string]struct {
		act  func(c *loop.Conn, peer tcpConn)
		want []error
	}{
		"CloseWith":      {func(c *loop.Conn, _ tcpConn) { c.CloseWith(reason) }, []error{reason}},
		"CloseWith(nil)": {func(c *loop.Conn, _ tcpConn) { c.CloseWith(nil) }, nil},
		"AbortWith":      {func(c *loop.Conn, _ tcpConn) { c.AbortWith(reason) }, []error{reason}},
		"AbortWith(nil)": {func(c *loop.Conn, _ tcpConn) { c.AbortWith(nil) }, []error{loop.ErrAborted}},
		"CloseWith, AbortWith": {func(c *loop.Conn, _ tcpConn) {
			c.CloseWith(reason)
			c.AbortWith(second)
		}, []error{second}},
		"CloseWith, and the flush fails": {func(c *loop.Conn, peer tcpConn) {
			c.Write(make([]byte, 32<<20))
			c.CloseWith(reason)
			waitTurns(t, c)
			peer.SetLinger(0)
			peer.Close()
		}, []error{reason, syscall.ECONNRESET}},
	} {
		t.Run(what, func(t *testing.T) {
			if len(x.want) == 2 {
				testkit.SkipOnWine(t, "a reset may be reported as EOF there")
			}
			conns, closed := make(chan *loop.Conn, 1), make(chan error, 1)
			_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
				return &funcs{
					opened: func(c *loop.Conn) { conns <- c },
					closed: func(_ *loop.Conn, why error) { closed <- why },
				}
			})
			conn := receive(t, conns, "the connection")
			ctx := conn.Context()
			x.act(conn, c)
			c.Close()
			why := receive(t, closed, "Closed")
			if x.want == nil && why != nil {
				t.Errorf("Closed got %v, want nil", why)
			}
			for _, want := range x.want {
				if !errors.Is(why, want) {
					t.Errorf("Closed got %v, want %v", why, want)
				}
			}
			receive(t, ctx.Done(), "the end of the context")
			if cause := context.Cause(ctx); why != nil && cause != why || why == nil && !errors.Is(cause, loop.ErrClosed) {
				t.Errorf("the context's cause is %v, Closed got %v", cause, why)
			}
			if late := conn.Context(); late != ctx || late.Err() == nil {
				t.Error("Context after Closed returns another context, or one that is not canceled")
			}
		})
	}
}

// Context, first called after Closed, returns a canceled context.
func TestL3bContextAfterClosed(t *testing.T) {
	reason, conns := errors.New("over"), make(chan *loop.Conn, 1)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{
			data:   func(c *loop.Conn, b []byte) (int, error) { return len(b), c.AbortWith(reason) },
			closed: func(c *loop.Conn, _ error) { conns <- c },
		}
	})
	c.Write([]byte("x"))
	ctx := receive(t, conns, "Closed").Context()
	if ctx.Err() == nil || context.Cause(ctx) != reason {
		t.Errorf("the context's error is %v and its cause %v, want the reason of AbortWith", ctx.Err(), context.Cause(ctx))
	}
}

// The peer's half-close alone does not cancel the context.
func TestL3bContextAfterHalfClose(t *testing.T) {
	conns := make(chan *loop.Conn, 1)
	_, c := serve(t, loop.Config{}, func(*loop.Conn) loop.Handler {
		return &funcs{readClosed: func(c *loop.Conn) { conns <- c }}
	})
	c.CloseWrite()
	conn := receive(t, conns, "ReadClosed")
	ctx := conn.Context()
	if ctx.Err() != nil {
		t.Error("the context is canceled at the peer's half-close")
	}
	conn.Close()
	receive(t, ctx.Done(), "the end of the context")
}

// Keep-alive is enabled by default, with the times of package net, on both ends.
func TestKeepAliveByDefault(t *testing.T) {
	testkit.SkipOnWine(t, "it does not report the times")
	if runtime.GOOS != "linux" {
		t.Skip("skipped: the options are read by Linux's names")
	}
	type options struct{ on, idle, interval, count int }
	get := func(c *loop.Conn) (o options) {
		for _, x := range []struct {
			level, name int
			to          *int
		}{
			{sys.SOL_SOCKET, sys.SO_KEEPALIVE, &o.on},
			{sys.IPPROTO_TCP, sys.TCP_KEEPIDLE, &o.idle},
			{sys.IPPROTO_TCP, sys.TCP_KEEPINTVL, &o.interval},
			{sys.IPPROTO_TCP, sys.TCP_KEEPCNT, &o.count},
		} {
			v, e := sys.GetInt(loop.FDOf(c), x.level, x.name)
			if e != 0 {
				t.Fatal(e)
			}
			*x.to = v
		}
		return o
	}
	for what, x := range map[string]struct {
		config net.KeepAliveConfig
		want   options
	}{
		"default": {net.KeepAliveConfig{}, options{1, 15, 15, 9}},
		"own":     {net.KeepAliveConfig{Enable: true, Idle: time.Minute, Count: 3}, options{1, 60, 15, 3}},
		"off":     {net.KeepAliveConfig{Idle: -1}, options{on: 0}},
	} {
		for _, served := range []bool{false, true} {
			t.Run(what, func(t *testing.T) {
				g := group(t, loop.Config{KeepAlive: x.config})
				conns := make(chan *loop.Conn, 2)
				accept := func(c *loop.Conn) loop.Handler { conns <- c; return echo{} }
				var ln *loop.Listener
				var err error
				if served {
					var l *sock.TCPListener
					if l, err = sock.ListenTCP(loopback, onNet(t)...); err == nil {
						ln, err = g.Serve(l, accept)
					}
				} else {
					ln, err = g.Listen("tcp", "127.0.0.1:0", accept)
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := g.Dial(context.Background(), "tcp", ln.Addr().String(), accept); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					c := receive(t, conns, "a connection")
					got := get(c)
					if x.want.on == 0 {
						got = options{on: got.on}
					}
					if got != x.want {
						t.Errorf("keep-alive options = %+v, want %+v", got, x.want)
					}
					if err := c.SetKeepAlive(net.KeepAliveConfig{Enable: true, Idle: 40 * time.Second, Interval: -1, Count: 5}); err != nil {
						t.Error(err)
					}
					if got := get(c); got.on != 1 || got.idle != 40 || got.count != 5 {
						t.Errorf("keep-alive options after SetKeepAlive = %+v", got)
					}
					if err := c.SetKeepAlive(net.KeepAliveConfig{}); err != nil || get(c).on != 0 {
						t.Errorf("keep-alive options after disabling it = %+v, %v", get(c), err)
					}
				}
			})
		}
	}
}

// After ReadClosed, Data is called with the bytes that it had left only.
func TestL1DataAfterReadClosed(t *testing.T) {
	for what, redeliver := range map[string]func(c *loop.Conn, h loop.Handler){
		"Resume":     func(c *loop.Conn, _ loop.Handler) { c.Pause(); c.Resume() },
		"SetHandler": func(c *loop.Conn, h loop.Handler) { c.SetHandler(h) },
		"Drained": func(c *loop.Conn, _ loop.Handler) {
			c.Write(make([]byte, 32<<20)) // Drained is called, and the left bytes are delivered with it
		},
	} {
		t.Run(what, func(t *testing.T) {
			order, called := make(chan string, 10), make(chan bool)
			h := &funcs{}
			h.data = func(_ *loop.Conn, b []byte) (int, error) { order <- "Data " + string(b); return 1, nil }
			h.readClosed = func(c *loop.Conn) { order <- "ReadClosed"; redeliver(c, h); close(called) }
			h.closed = func(*loop.Conn, error) { order <- "Closed" }
			_, c := serve(t, loop.Config{Loops: 1}, func(*loop.Conn) loop.Handler { return h })
			c.Write([]byte("ab"))
			c.CloseWrite()
			go func() {
				<-called // else the kernel might take all of it immediately
				io.Copy(io.Discard, c)
			}()
			for _, want := range []string{"Data ab", "ReadClosed", "Data b"} {
				if got := receive(t, order, want); got != want {
					t.Fatalf("got callback %q, want %q", got, want)
				}
			}
		})
	}
}

// Settings may be changed and Context called while the connection ends.
func TestL2SettingsWhileConnEnds(t *testing.T) {
	for range 50 {
		conns, closed := make(chan *loop.Conn, 1), make(chan bool, 1)
		_, c := serve(t, loop.Config{Loops: 1, IdleTimeout: time.Hour}, func(*loop.Conn) loop.Handler {
			return &funcs{
				opened: func(c *loop.Conn) { conns <- c },
				data:   func(c *loop.Conn, b []byte) (int, error) { c.Write(make([]byte, 1<<20)); return len(b), nil },
				closed: func(*loop.Conn, error) { closed <- true },
			}
		})
		conn := receive(t, conns, "the connection")
		c.Write([]byte("x"))
		c.SetLinger(0)
		go c.Close()
		for i := range 20 {
			conn.SetBackpressure(i%2 == 0)
			conn.SetWriteTimeout(time.Hour)
			conn.SetReadDeadline(time.Now().Add(time.Hour))
			conn.SetKeepAlive(net.KeepAliveConfig{Enable: true})
		}
		ctx := conn.Context()
		receive(t, closed, "Closed")
		receive(t, ctx.Done(), "the end of the context")
	}
}
