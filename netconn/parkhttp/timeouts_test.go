package parkhttp_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/netconn/parkhttp"
)

// checkAfter fails the test unless d has passed since start, up to what the timers of a loop may be late.
func checkAfter(t *testing.T, start time.Time, d time.Duration) {
	t.Helper()
	if got := time.Since(start); got < d || got > d+10*time.Millisecond {
		t.Errorf("closed after %v, want %v", got, d)
	}
}

// The server's IdleTimeout closes a parked connection, also one of which fewer than four bytes of a request have arrived; without
// one there is no limit.
func TestIdleTimeout(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		x := newRig(t, g, func(s *http.Server) { s.IdleTimeout = time.Minute })
		for _, partial := range []string{"", "GET"} {
			c := x.dial()
			for range 2 {
				c.send(get("/"))
				c.expect("GET / ")
				time.Sleep(50 * time.Second)
			}
			c.send(get("/"))
			c.expect("GET / ")
			start := time.Now()
			time.Sleep(30 * time.Second)
			c.send(partial)
			c.expectEOF()
			checkAfter(t, start, time.Minute)
		}
	})
	onSim(t, func(t *testing.T, g *loop.Group) {
		x := newRig(t, g, nil)
		c := x.dial()
		for range 2 {
			c.send(get("/"))
			c.expect("GET / ")
			time.Sleep(20 * time.Hour)
		}
		x.awaitParked(1)
	})
}

// ReadHeaderTimeout, or ReadTimeout, begins with the first bytes of a request that wakes a connection.
func TestReadHeaderTimeout(t *testing.T) {
	for _, set := range []func(*http.Server){
		func(s *http.Server) { s.ReadHeaderTimeout = 5 * time.Second },
		func(s *http.Server) { s.ReadTimeout, s.IdleTimeout = 5*time.Second, time.Hour },
	} {
		onSim(t, func(t *testing.T, g *loop.Group) {
			x := newRig(t, g, set)
			c := x.dial()
			c.send(get("/"))
			c.expect("GET / ")
			time.Sleep(afterParking)
			for range 2 {
				time.Sleep(2 * time.Second)
				x.awaitParked(1)
				c.send("GET ")
				time.Sleep(4 * time.Second)
				c.send("/a HTTP/1.1\r\nHost: h\r\n\r\n")
				c.expect("GET /a ")
			}
			x.awaitParked(1)
			start := time.Now()
			c.send("GET ")
			c.expect("400 Bad Request") // what net/http makes of a part of a line
			c.expectEOF()
			checkAfter(t, start, 5*time.Second)
		})
	}
}

// Shutdown and Close of the server close the parked connections: Shutdown does not wait for them, and does for one with a request
// in progress, which is not parked afterwards.
func TestShutdown(t *testing.T) {
	for name, end := range map[string]func(*http.Server) error{
		"Shutdown": func(s *http.Server) error { return s.Shutdown(context.Background()) },
		"Close":    (*http.Server).Close,
	} {
		t.Run(name, func(t *testing.T) {
			onSim(t, func(t *testing.T, g *loop.Group) {
				x := newRig(t, g, func(s *http.Server) {
					s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/slow" {
							time.Sleep(10 * time.Second)
						}
						echo(w, r)
					})
				})
				var parked []*client
				for range 3 {
					c := x.dial()
					c.send(get("/"))
					c.expect("GET / ")
					parked = append(parked, c)
				}
				x.awaitParked(3)
				idle, slow := x.dial(), x.dial()
				slow.send(get("/slow"))
				time.Sleep(time.Second)
				idle.send(get("/"))
				idle.expect("GET / ")
				start := time.Now()
				if err := end(x.server); err != nil {
					t.Error(err)
				}
				for _, c := range append(parked, idle) {
					c.expectEOF()
				}
				if name == "Close" {
					slow.expectEOF()
					time.Sleep(10 * time.Second) // the handler does not notice
					return
				}
				if d := time.Since(start); d < 8*time.Second || d > 11*time.Second {
					t.Errorf("Shutdown took %v, want the time of the request in progress", d)
				}
				slow.expect("GET /slow ")
				slow.expectEOF()
			})
		})
	}
}

// After SetKeepAlivesEnabled(false) a parked connection ends with its next response.
func TestKeepAlivesDisabled(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		x := newRig(t, g, nil)
		c := x.dial()
		c.send(get("/"))
		c.expect("GET / ")
		x.awaitParked(1)
		x.server.SetKeepAlivesEnabled(false)
		c.send(get("/"))
		if resp := c.expect("GET / "); !resp.Close {
			t.Error("the response lacks Connection: close")
		}
		c.expectEOF()
	})
}

// A context of ConnContext and LocalAddr are those of the connection that was woken; BaseContext is called once.
func TestContexts(t *testing.T) {
	type key struct{}
	onSim(t, func(t *testing.T, g *loop.Group) {
		var bases, conns atomic.Int32
		x := newRig(t, g, func(s *http.Server) {
			s.BaseContext = func(ln net.Listener) context.Context {
				if _, ok := ln.(*parkhttp.Listener); !ok {
					t.Errorf("the listener is a %T", ln)
				}
				bases.Add(1)
				return context.Background()
			}
			s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
				return context.WithValue(ctx, key{}, conns.Add(1))
			}
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if want := conns.Load(); r.Context().Value(key{}) != want {
					t.Errorf("the value is %v, want %d", r.Context().Value(key{}), want)
				}
				local := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
				io.WriteString(w, r.RemoteAddr+" "+local.String())
			})
		})
		c := x.dial()
		for range 3 {
			c.send(get("/"))
			c.expect(c.LocalAddr().String() + " " + c.RemoteAddr().String())
			x.awaitParked(1)
		}
		if bases.Load() != 1 || conns.Load() != 3 {
			t.Errorf("BaseContext was called %d times, ConnContext %d times", bases.Load(), conns.Load())
		}
	})
}

// The context of a request is cancelled when the client goes away, also on a connection that was parked.
func TestCancel(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		canceled := make(chan struct{})
		x := newRig(t, g, func(s *http.Server) {
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/wait" {
					<-r.Context().Done()
					close(canceled)
				}
			})
		})
		c := x.dial()
		c.send(get("/"))
		c.expect("")
		x.awaitParked(1)
		c.send(get("/wait"))
		time.Sleep(time.Second)
		c.Close()
		<-canceled
	})
}

// A ConnState that is set after Park, and a listener in between, leave a server that works, and does not park.
func TestNotParked(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		x := newRig(t, g, nil)
		ln := must(netconn.Listen(g, "tcp", "127.0.0.1:0"))
		server := &http.Server{Handler: http.HandlerFunc(echo)}
		between := wrapper{must(parkhttp.Park(server, ln))}
		done := make(chan error)
		go func() { done <- server.Serve(between) }()
		x.ln = ln.(*netconn.Listener)
		c := x.dial()
		for range 2 {
			c.send(get("/"))
			c.expect("GET / ")
			time.Sleep(2 * afterParking)
			if x.ln.Parked() != 0 {
				t.Error("the connection is parked")
			}
		}
		server.Close()
		<-done
	})
}

// wrapper is a listener whose connections are of another type.
type wrapper struct{ net.Listener }

func (w wrapper) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}
