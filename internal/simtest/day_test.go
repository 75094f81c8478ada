package simtest

import (
	"bytes"
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

const (
	dayConns  = 1000
	heartbeat = 30 * time.Second
	beatBytes = 16
)

// TestDay runs a server with 1,000 connections, whose clients send a heartbeat every 30 s, for a day of
// simulated time. The server closes connections that miss two of them; none must be closed.
func TestDay(t *testing.T) {
	day := 20 * time.Minute
	if testkit.Long() && !testkit.Race {
		day = 24 * time.Hour
	}
	begun, cpu := time.Now(), cpuTime()
	beats := simulateDay(t, day)
	t.Logf("%v of simulated time with %d heartbeats, in %v, %v of processor time", day, beats, time.Since(begun).Round(time.Millisecond), (cpuTime() - cpu).Round(time.Millisecond))
}

// simulateDay returns how many heartbeats were answered.
func simulateDay(t *testing.T, day time.Duration) (beats int) {
	synctest.Test(t, func(t *testing.T) { beats = runDay(t, day) })
	return beats
}

// beating is a handler of the server: it echoes heartbeats.
type beating struct{ closed *int }

func (h beating) Opened(c *loop.Conn) { c.SetIdleTimeout(5 * heartbeat / 2) }

func (h beating) Data(c *loop.Conn, b []byte) (int, error) {
	c.Write(b)
	return len(b), nil
}

func (h beating) Closed(*loop.Conn, error) { *h.closed++ }

// beater is a handler of a client.
type beater struct {
	t     *testing.T
	beats *int // all clients'
	due   time.Time
	timer *loop.Timer
}

var beat = bytes.Repeat([]byte{'.'}, beatBytes)

func (h *beater) Opened(c *loop.Conn) {
	h.timer = c.Loop().AfterFunc(heartbeat, func() {
		h.due = time.Now()
		c.Write(beat)
		h.timer.Reset(heartbeat)
	})
}

func (h *beater) Data(c *loop.Conn, b []byte) (int, error) {
	if len(b) < beatBytes {
		return 0, nil
	}
	*h.beats++
	if took := time.Since(h.due); took > time.Second {
		h.t.Errorf("the answer to a heartbeat took %v", took)
	}
	return beatBytes, nil
}

func (h *beater) Closed(*loop.Conn, error) { h.timer.Stop() }

func runDay(t *testing.T, day time.Duration) (beats int) {
	n := simnet.New(simnet.Config{Link: simnet.Link{Latency: time.Millisecond}})
	defer n.Close()
	newGroup := func() (*simnet.Host, *loop.Group) {
		h := n.Host()
		g, err := loop.NewGroup(loop.Config{Loops: 1, Network: hostNetwork(h, 0), KeepAlive: net.KeepAliveConfig{Idle: -1}})
		if err != nil {
			t.Fatal(err)
		}
		return h, g
	}
	closed := 0
	host, server := newGroup()
	_, clients := newGroup()
	ln, err := server.Listen("tcp", host.Addr().String()+":0", func(*loop.Conn) loop.Handler { return beating{&closed} })
	if err != nil {
		t.Fatal(err)
	}
	script := n.NewActor()
	for range dayConns {
		if err := clients.Loops()[0].Dial(context.Background(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return &beater{t: t, beats: &beats} }, nil); err != nil {
			t.Fatal(err)
		}
		script.Wait(heartbeat / dayConns)
	}
	script.Wait(day)
	if clients.Conns() != dayConns || server.Conns() != dayConns || closed != 0 {
		t.Errorf("%d and %d connections, %d were closed; want %d", clients.Conns(), server.Conns(), closed, dayConns)
	}
	if want := int(day/heartbeat) * dayConns; beats < want-dayConns || beats > want+2*dayConns {
		t.Errorf("%d heartbeats, want about %d", beats, want)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	clients.Shutdown(ctx)
	server.Shutdown(ctx)
	synctest.Wait()
	return beats
}
