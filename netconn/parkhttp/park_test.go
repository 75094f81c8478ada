package parkhttp_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn/parkhttp"
)

// An idle connection is parked, and its next request is served, again and again.
func TestPark(t *testing.T) {
	run := func(t *testing.T, g *loop.Group) {
		x := newRig(t, g, nil)
		c := x.dial()
		for range 3 {
			c.send(post("/a", "castor"))
			c.expect("POST /a castor")
			x.awaitState("parked")
		}
		x.expectStates("new", "active", "idle", "parked", "woken", "active", "idle", "parked", "woken", "active", "idle", "parked")
	}
	onBackends(t, run)
	onSim(t, run)
}

// A request is right wherever it is split, in front of, while and after the connection is parked. Fewer than four bytes leave it
// parked; with bytes of the next request in the server's buffer it is not parked.
func TestSplit(t *testing.T) {
	request := post("/split", "pollux")
	for at := range len(request) {
		inBubbles(t, func(t *testing.T, g *loop.Group) {
			x := newRig(t, g, nil)
			c := x.dial()
			c.send(get("/"))
			c.expect("GET / ")
			x.awaitParked(1)
			c.send(request[:at])
			time.Sleep(afterParking)
			if parked := x.ln.Parked() == 1; parked != (at < 4) {
				t.Errorf("parked: %v after %d bytes", parked, at)
			}
			c.send(request[at:])
			c.expect("POST /split pollux")

			c = x.dial()
			c.send(get("/") + request[:at])
			c.expect("GET / ")
			time.Sleep(2 * afterParking)
			if parked := x.ln.Parked() == 2; parked != (at == 0) {
				t.Errorf("parked: %v with %d bytes of the next request", parked, at)
			}
			c.send(request[at:])
			c.expect("POST /split pollux")
		})
	}
}

// A connection with frequent requests is not parked between them.
func TestBusyIsNotParked(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		x := newRig(t, g, nil)
		c := x.dial()
		for range 3 {
			c.send(get("/"))
			c.expect("GET / ")
			time.Sleep(parkAfter * 9 / 10)
		}
		x.expectStates("new", "active", "idle", "active", "idle", "active", "idle")
		x.awaitState("parked")
	})
}

// Pipelined requests wake a connection once, and are answered in order.
func TestPipelined(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		x := newRig(t, g, nil)
		c := x.dial()
		for range 3 {
			long := strings.Repeat("x", 10_000)
			c.send(get("/1") + post("/2", "castor") + get("/3") + post("/4", long) + get("/5"))
			c.expect("GET /1 ")
			c.expect("POST /2 castor")
			c.expect("GET /3 ")
			c.expect("POST /4 " + long)
			c.expect("GET /5 ")
			x.awaitParked(1)
		}
	})
}

// A byte of the next request that arrives during a request is not lost: net/http reads it in the background.
func TestByteDuringRequest(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		x := newRig(t, g, func(s *http.Server) {
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(time.Second)
				echo(w, r)
			})
		})
		c := x.dial()
		for _, split := range []int{1, 3, 10} {
			c.send(get("/1"))
			time.Sleep(time.Second / 2)
			c.send(get("/2")[:split])
			c.expect("GET /1 ")
			time.Sleep(2 * afterParking)
			if x.ln.Parked() != 0 {
				t.Error("the connection is parked with bytes of a request")
			}
			c.send(get("/2")[split:])
			c.expect("GET /2 ")
			x.awaitParked(1)
		}
	})
}

// The protocols that a request can start are those of net/http, also on a connection that was parked: Expect, Hijack, Connection:
// close, HTTP/1.0, and an answer to what is no request.
func TestWokenProtocols(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		x := newRig(t, g, func(s *http.Server) {
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/hijack" {
					hijack(t, w)
					return
				}
				echo(w, r)
			})
		})
		parked := func() *client {
			c := x.dial()
			c.send(get("/"))
			c.expect("GET / ")
			x.awaitParked(1)
			return c
		}

		c := parked()
		c.send("POST /100 HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n")
		if line, err := c.in.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("%q, %v", line, err)
		}
		c.in.ReadString('\n')
		time.Sleep(afterParking) // a body that is late does not park it
		c.send("castor")
		c.expect("POST /100 castor")
		c.Close()

		c = parked()
		c.send("GET /close HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		c.expect("GET /close ")
		c.expectEOF()

		c = parked()
		for range 2 {
			c.send("GET /1.0 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
			c.expect("GET /1.0 ")
			x.awaitParked(1)
		}
		c.send("GET /1.0 HTTP/1.0\r\n\r\n")
		c.expect("GET /1.0 ")
		c.expectEOF()

		c = parked()
		c.send("nothing at all\r\n\r\n")
		if resp := c.expect("400 Bad Request"); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%v", resp.Status)
		}
		c.expectEOF()

		c = parked()
		c.send("GET /hijack HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\ncas")
		resp, err := http.ReadResponse(c.in, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v, %v", resp, err)
		}
		for _, rest := range []string{"tor", "castor"} { // with a pause: a hijacked connection is not parked
			c.send(rest)
			b := make([]byte, 6)
			if _, err := io.ReadFull(c.in, b); err != nil || string(b) != "castor" {
				t.Fatalf("%q, %v", b, err)
			}
			time.Sleep(2 * afterParking)
		}
		c.CloseWrite()
		c.expectEOF()
	})
}

// hijack takes the connection over, for an echo.
func hijack(t *testing.T, w http.ResponseWriter) {
	c, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	if _, ok := c.(*parkhttp.Conn); !ok {
		t.Errorf("the hijacked connection is a %T", c)
	}
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{rw}, make([]byte, 4096)) // as large as the buffer of net/http
}

// Empty lines after a request, which some clients send after the body of a POST, do not spoil the next one.
func TestEmptyLines(t *testing.T) {
	for _, lines := range []string{"\r\n", "\n", "\r\n\r\n"} {
		onSim(t, func(t *testing.T, g *loop.Group) {
			x := newRig(t, g, nil)
			c := x.dial()
			for range 2 {
				c.send(post("/a", "castor"))
				c.expect("POST /a castor")
				x.awaitParked(1)
				c.send(lines)
				time.Sleep(time.Second)
				if parked := x.ln.Parked() == 1; parked != (len(lines) < 4) {
					t.Errorf("parked: %v after %q", parked, lines)
				}
				c.send(post("/b", "pollux"))
				c.expect("POST /b pollux")
				x.awaitParked(1)
			}
		})
	}
}

// net/http's own client keeps its connections, which are parked between its requests.
func TestClient(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		x := newRig(t, g, nil)
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		for range 3 {
			resp, err := client.Post("http://"+x.ln.Addr().String()+"/a", "text/plain", strings.NewReader("castor"))
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "POST /a castor" {
				t.Errorf("%q, %v", b, err)
			}
			resp.Body.Close()
			x.awaitState("parked")
		}
		x.expectStates("new", "active", "idle", "parked", "woken", "active", "idle", "parked", "woken", "active", "idle", "parked")
	})
}

// Park refuses listeners whose connections it could not park, and leaves the server as it is.
func TestParkRefuses(t *testing.T) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	server := &http.Server{ReadHeaderTimeout: time.Minute}
	got, err := parkhttp.Park(server, ln)
	if err == nil || !strings.Contains(err.Error(), "*net.TCPListener") || got != ln || server.ConnState != nil {
		t.Errorf("%v, %v", got, err)
	}
	if err := parkhttp.Check(); err != nil {
		t.Error(err)
	}
}
