package main

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop/looptest"
)

// A silent client is pinged. One that answers stays; one that does not is aborted.
func TestKeepAlive(t *testing.T) {
	bubble(t, looptest.Config{}, defaults, func(t *testing.T, s *simulation) {
		alive, aliveConn := s.join(t, "a")
		_, gone := s.join(t, "a")
		aliveConn.SetDeadline(time.Time{})
		gone.SetDeadline(time.Time{})
		for i := range 20 {
			began := time.Now()
			alive.expect(t, reply{opPing, ""})
			// In an interval with something from the client there is no ping.
			if took, want := time.Since(began), s.pingInterval*time.Duration(min(i+1, 2)); took.Round(time.Second) != want {
				t.Fatalf("ping %d came after %v, want %v", i, took, want)
			}
			alive.Write(frame(fin|opPong, ""))
		}
		settle()
		if s.group.Conns() != 1 {
			t.Errorf("there are %d connections, want that of the client that answers", s.group.Conns())
		}
		if _, err := io.Copy(io.Discard, gone); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client that does not answer got %v, want a reset", err)
		}
	})
}

// Clients that talk are not pinged.
func TestTrafficReplacesPings(t *testing.T) {
	bubble(t, looptest.Config{}, defaults, func(t *testing.T, s *simulation) {
		c, conn := s.join(t, "a")
		conn.SetDeadline(time.Time{})
		for range 20 {
			time.Sleep(s.pingInterval * 2 / 3)
			c.Write(frame(fin|opPong, ""))
		}
		settle()
		if n := conn.Unread(); n > 0 || s.stats.pings.Load() > 0 {
			t.Errorf("the client got %d bytes; %d pings", n, s.stats.pings.Load())
		}
	})
}

// A client that takes messages slowly is there, though no pong of it can arrive in time.
func TestSlowReadersAreNotTakenForGone(t *testing.T) {
	bubble(t, looptest.Config{}, defaults, func(t *testing.T, s *simulation) {
		slow, conn := s.join(t, "a")
		conn.SetDeadline(time.Time{})
		fast, _ := s.join(t, "a")
		r := reply{opText, strings.Repeat("x", 60<<10)}
		const messages = 10
		for range messages {
			fast.Write(text(r.payload))
			fast.expect(t, r)
		}
		fast.Close()
		for range 30 { // for 2.5 minutes
			io.CopyN(io.Discard, slow.in, 16<<10)
			time.Sleep(5 * time.Second)
		}
		if s.stats.pings.Load() > 0 || s.group.Conns() != 1 {
			t.Errorf("%d pings, %d connections; want the slow reader, and no pings", s.stats.pings.Load(), s.group.Conns())
		}
		left := messages*(len(r.payload)+4) - 30*16<<10
		if n, err := io.CopyN(io.Discard, slow.in, int64(left)); err != nil {
			t.Errorf("%d more bytes arrive, want %d: %v", n, left, err)
		}
	})
}
