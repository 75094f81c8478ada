package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// A message that is too long is refused when its header announces it, in one frame or in several.
func TestMessageTooBig(t *testing.T) {
	o := defaults
	o.maxMessageBytes = 1000
	bubble(t, looptest.Config{}, o, func(t *testing.T, s *simulation) {
		exact := strings.Repeat("x", 1000)
		for _, tooBig := range [][]byte{
			text(exact + "x")[:8],
			append(frame(opText, exact[:600]), frame(fin|opContinue, exact[:401])[:8]...),
			append(frame(opText, exact), frame(opContinue, "x")...),
			{fin | opBinary, 0x80 | 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0},
		} {
			c, _ := s.join(t, "a")
			c.Write(text(exact))
			c.expect(t, reply{opText, exact})
			c.Write(tooBig)
			c.expectClose(t, 1009)
		}
	})
}

// Back-pressure: a client that sends to /echo and does not read is not read from, and costs a
// bounded number of bytes. It gets everything when it reads.
func TestEchoHasBackpressure(t *testing.T) {
	bubble(t, looptest.Config{}, defaults, func(t *testing.T, s *simulation) {
		conn := s.dial(t)
		defer conn.Close()
		c := open(t, conn, echoPath)
		const messages = 100
		payload := strings.Repeat("x", 64<<10)
		go func() {
			for range messages {
				c.Write(text(payload))
			}
		}()
		time.Sleep(5 * time.Second)
		if unsent := s.group.Stats().Loops[0].UnsentBytes; unsent > highWatermarkBytes+turnBytes+len(payload)+100 || unsent == 0 {
			t.Errorf("%d bytes are unsent", unsent)
		}
		for range messages {
			c.expect(t, reply{opText, payload})
		}
	})
}

// A shutdown ends each WebSocket with 1001. A client that answers is gone at once; one that does
// not, and one that does not even read, is cut off.
func TestShutdownSaysGoodbye(t *testing.T) {
	bubble(t, looptest.Config{}, defaults, func(t *testing.T, s *simulation) {
		var members []*client
		for range 10 {
			c, _ := s.join(t, "a")
			members = append(members, c)
		}
		echo := open(t, s.dial(t), echoPath)
		handshaking := s.dial(t)
		io.WriteString(handshaking, "GET /echo HT")
		deaf, _ := s.join(t, "a")
		settle()
		began := time.Now()
		ended := make(chan error, 1)
		go func() { ended <- s.group.Shutdown(t.Context()) }()
		for _, c := range append(members, echo) {
			if r, err := c.next(); err != nil || r.code() != 1001 {
				t.Fatalf("got %v, %v, want Close 1001", r, err)
			}
			c.Write(text("not handled any more"))
			c.Write(closing(1001, ""))
			if _, err := c.in.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("after the Close frame: %v", err)
			}
			c.Close()
		}
		if n, err := handshaking.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("in the handshake: %d, %v", n, err)
		}
		handshaking.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < s.closeTimeout || took > s.closeTimeout+time.Second {
			t.Errorf("the shutdown took %v, want the time for Close frames", took)
		}
		if got := s.stats.ends(); got != "1001: 12" {
			t.Errorf("the ends are %q", got)
		}
		deaf.Close()
	})
}

// After a Close frame nothing is sent: neither messages of the room nor pongs.
func TestNothingFollowsAClose(t *testing.T) {
	bubble(t, looptest.Config{Adversity: looptest.Adverse()}, defaults, func(t *testing.T, s *simulation) {
		for range 20 {
			a, _ := s.join(t, "a")
			b, _ := s.join(t, "a")
			go func() {
				for range 20 {
					b.Write(text("noise"))
				}
			}()
			a.Write(bytes.Join([][]byte{frame(fin|opPing, ""), closing(1000, ""), frame(fin|opPing, "")}, nil))
			for {
				r, err := a.next()
				if err != nil {
					t.Fatal(err)
				}
				if r.op == opClose {
					break
				}
			}
			if x, err := a.in.ReadByte(); !errors.Is(err, io.EOF) {
				t.Fatalf("after the Close frame: %#x, %v", x, err)
			}
			b.Close()
			settle()
		}
	})
}

// While a client has not answered its Close frame, it gets nothing more: no message of the room, which
// a shutdown may not have reached everywhere, and no pong.
func TestNothingFollowsGoingAway(t *testing.T) {
	bubble(t, looptest.Config{}, defaults, func(t *testing.T, s *simulation) {
		a, conn := s.join(t, "a")
		b, _ := s.join(t, "a")
		s.group.Each(func(c *loop.Conn) {
			if c.RemoteAddr().String() == conn.LocalAddr().String() {
				c.Handler().(*session).Shutdown(c)
			}
		})
		if r, err := a.next(); err != nil || r.code() != 1001 {
			t.Fatalf("got %v, %v, want Close 1001", r, err)
		}
		b.Write(text("late"))
		b.expect(t, reply{opText, "late"})
		a.Write(frame(fin|opPing, ""))
		a.Write(text("later"))
		settle()
		if n := conn.Unread() + a.in.Buffered(); n > 0 {
			t.Errorf("%d bytes follow the Close frame", n)
		}
		a.Write(closing(1001, ""))
		if _, err := a.in.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("after both Close frames: %v", err)
		}
	})
}
