package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// patient bounds every wait for what must happen.
const patient = time.Minute

// start runs a hub, and returns it, its address, and a function that stops it.
func start(t *testing.T) (h *hub, addr string, stop func()) {
	log.SetOutput(io.Discard)
	h = &hub{rooms: map[string]*loop.Fanout{}, config: loop.FanoutConfig{MaxUnsentBytes: 64 << 10}}
	ctx, cancel := context.WithCancel(context.Background())
	listening, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- h.run(ctx, "127.0.0.1:0", loop.Config{Loops: 3}, func(a net.Addr) { listening <- a.String() })
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	select {
	case addr = <-listening:
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	return h, addr, stop
}

type peer struct {
	*net.TCPConn
	in *bufio.Reader
}

func connect(t *testing.T, addr string) *peer {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patient))
	p := &peer{c.(*net.TCPConn), bufio.NewReader(c)}
	p.expect(t, "* you are in lobby; /join ROOM changes that")
	return p
}

func (p *peer) line() (string, error) {
	s, err := p.in.ReadString('\n')
	return strings.TrimSuffix(s, "\n"), err
}

func (p *peer) expect(t *testing.T, want string) {
	t.Helper()
	if got, err := p.line(); got != want || err != nil {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// say sends a line, and returns the line that the others get.
func (p *peer) say(format string, args ...any) string {
	line := fmt.Sprintf(format, args...)
	fmt.Fprintf(p, "%s\r\n", line)
	return fmt.Sprintf("%v: %s", p.LocalAddr(), line)
}

func TestRooms(t *testing.T) {
	h, addr, stop := start(t)
	a, b, c := connect(t, addr), connect(t, addr), connect(t, addr)
	want := a.say("hello")
	for _, p := range []*peer{a, b, c} {
		p.expect(t, want)
	}
	c.Write([]byte("/join go\n"))
	c.expect(t, "* you are in go")
	b.expect(t, b.say("c is gone"))
	c.expect(t, c.say("alone"))
	c.Write(bytes.Repeat([]byte("x"), 3*maxLine))
	if got, err := c.line(); err == nil {
		t.Errorf("after a line that is too long, the client got %q, want the end", got)
	}
	c.Close()
	waitFor(t, "the room to be empty", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.rooms) == 1
	})
	go stop()
	a.expect(t, fmt.Sprintf("%v: c is gone", b.LocalAddr()))
	a.expect(t, "* the server stops")
	if _, err := a.line(); err != io.EOF {
		t.Errorf("after the last line: %v, want the end", err)
	}
	a.Close()
	b.Close()
	stop()
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("timed out waiting for ", what)
		}
	}
}

// Some hundred clients get every line, in order, while others do not read, and are disconnected.
func TestSlowClients(t *testing.T) {
	const fast, slow, perRound = 200, 20, 8
	h, addr, stop := start(t)
	var readers, silent []*peer
	for range fast {
		readers = append(readers, connect(t, addr))
	}
	for range slow {
		p := connect(t, addr)
		p.SetReadBuffer(4 << 10)
		silent = append(silent, p)
	}
	h.mu.Lock()
	lobby := h.rooms["lobby"]
	h.mu.Unlock()
	for round := 0; lobby.Len() > fast; round++ {
		if round > 2000 {
			t.Fatalf("%d clients that do not read are still connected", lobby.Len()-fast)
		}
		speaker := readers[round%fast]
		var want []string
		for i := range perRound {
			want = append(want, speaker.say("%d %d %s", round, i, strings.Repeat("x", maxLine-100)))
		}
		for _, p := range readers {
			for _, line := range want {
				p.expect(t, line)
			}
		}
	}
	for _, p := range silent {
		if _, err := io.Copy(io.Discard, p.in); err == nil {
			t.Error("a client that does not read got the end of the stream, want a reset")
		}
	}
	go stop()
	for _, p := range readers {
		p.expect(t, "* the server stops")
		p.Close()
	}
	stop()
}
