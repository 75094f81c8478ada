package parkhttp_test

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/grouptest"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/netconn/parkhttp"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// afterParking is a time after which an idle connection is parked, on a simulated clock.
const afterParking = 300 * time.Millisecond

// Where tests run: package grouptest.
var (
	onBackends = grouptest.OnBackends
	onSim      = grouptest.OnSim
	inBubble   = grouptest.InBubble
)

// A rig is a server that parks, and what it has reported.
type rig struct {
	t      *testing.T
	g      *loop.Group
	ln     *netconn.Listener
	server *http.Server
	served chan error

	mu     sync.Mutex
	states []string // of its connections
	log    testkit.Buffer
}

// newRig serves echoes of requests until the test ends, with whatever configure sets.
func newRig(t *testing.T, g *loop.Group, configure func(*http.Server)) *rig {
	t.Helper()
	return serveRig(t, g, must(netconn.Listen(g, "tcp", "127.0.0.1:0")), configure)
}

// serveRig is newRig with a listener.
func serveRig(t *testing.T, g *loop.Group, ln net.Listener, configure func(*http.Server)) *rig {
	t.Helper()
	x := &rig{t: t, g: g, served: make(chan error, 1)}
	x.server = &http.Server{Handler: http.HandlerFunc(echo), ErrorLog: log.New(&x.log, "", 0), ConnState: x.note}
	if configure != nil {
		configure(x.server)
	}
	x.ln = ln.(*netconn.Listener)
	parking, err := parkhttp.Park(x.server, ln)
	if err != nil {
		t.Fatal(err)
	}
	go func() { x.served <- x.server.Serve(parking) }()
	t.Cleanup(func() {
		x.server.Close()
		if err := <-x.served; err != http.ErrServerClosed {
			t.Error(err)
		}
		if s := x.log.String(); s != "" {
			t.Errorf("the server has logged %q", s)
		}
		if n := x.ln.Parked(); n != 0 {
			if !testkit.Eventually(func() bool { return x.ln.Parked() == 0 }) {
				t.Errorf("%d connections are parked after Close of the server", n)
			}
		}
	})
	return x
}

// note is the ConnState of the server.
func (x *rig) note(nc net.Conn, s http.ConnState) {
	c := nc.(interface {
		Parked() bool
		Woken() bool
	})
	x.mu.Lock()
	defer x.mu.Unlock()
	what := s.String()
	if s == http.StateNew && c.Woken() {
		what = "woken"
	}
	if s == http.StateClosed && c.Parked() {
		what = "parked"
	}
	x.states = append(x.states, what)
}

// echo answers with the request: the method, the path and the body.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
}

// A client is a connection to a rig, and its buffer.
type client struct {
	*netconn.Conn
	x  *rig
	in *bufio.Reader
}

// dial returns a client, which is closed after the test.
func (x *rig) dial() *client {
	x.t.Helper()
	c, err := netconn.Dial(x.g, "tcp", x.ln.Addr().String())
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { c.Close() })
	return &client{c.(*netconn.Conn), x, bufio.NewReader(c)}
}

// get sends a request without a body.
func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n" }

// post sends a request with a body.
func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

// send writes s.
func (c *client) send(s string) {
	c.x.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.x.t.Fatal(err)
	}
}

// expect reads a response, which must have the given body, and returns it.
func (c *client) expect(body string) *http.Response {
	c.x.t.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.x.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil || string(b) != body {
		c.x.t.Fatalf("%q, %v, want %q", b, err, body)
	}
	return resp
}

// expectEOF fails the test unless the server closes the connection without a word.
func (c *client) expectEOF() {
	c.x.t.Helper()
	if n, err := c.in.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		c.x.t.Errorf("%d bytes, %v, want io.EOF", n, err)
	}
}

// awaitParked waits until n connections of the rig are parked.
func (x *rig) awaitParked(n int) {
	x.t.Helper()
	if !testkit.Eventually(func() bool { return x.ln.Parked() == n }) {
		x.t.Fatalf("%d connections are parked, want %d", x.ln.Parked(), n)
	}
}

// awaitState waits until s is the last state that the server has reported.
func (x *rig) awaitState(s string) {
	x.t.Helper()
	if !testkit.Eventually(func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return len(x.states) > 0 && x.states[len(x.states)-1] == s
	}) {
		x.t.Fatalf("the server has not reported %q", s)
	}
}

// expectStates fails the test unless the server has reported these states of its connections.
func (x *rig) expectStates(want ...string) {
	x.t.Helper()
	var states []string
	if !testkit.Eventually(func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		states = slices.Clone(x.states)
		return slices.Equal(states, want)
	}) {
		x.t.Errorf("the server has reported %q, want %q", states, want)
	}
}

// inBubbles is onSim without subtests, for a test that runs f very often.
func inBubbles(t *testing.T, f func(t *testing.T, g *loop.Group)) {
	t.Helper()
	for _, a := range []looptest.Adversity{{}, looptest.Adverse()} {
		inBubble(t, looptest.Config{Adversity: a}, f)
	}
}
