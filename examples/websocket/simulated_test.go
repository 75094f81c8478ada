package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// settle returns when the server has nothing to do.
func settle() { time.Sleep(10 * time.Millisecond) }

// join returns a client that is a member of a room.
func (s *simulation) join(t *testing.T, room string) (*client, *looptest.Conn) {
	t.Helper()
	conn := s.dial(t)
	t.Cleanup(func() { conn.Close() })
	return open(t, conn, "/hub/"+room), conn
}

// bubble runs a test with a simulated server.
func bubble(t *testing.T, c looptest.Config, o options, f func(t *testing.T, s *simulation)) {
	synctest.Test(t, func(t *testing.T) { f(t, simulate(t, c, o)) })
}

// A handshake and the frames behind it are handled wherever the stream is cut in two.
func TestHandshakeCutAtEveryByte(t *testing.T) {
	sent := request(echoPath) + string(text("hello")) + string(closing(1000, ""))
	bubble(t, looptest.Config{}, defaults, func(t *testing.T, s *simulation) {
		for cut := range len(sent) + 1 {
			conn := s.dial(t)
			io.WriteString(conn, sent[:cut])
			time.Sleep(time.Second)
			io.WriteString(conn, sent[cut:])
			c := &client{conn, bufio.NewReader(conn)}
			if r, err := http.ReadResponse(c.in, nil); err != nil || r.StatusCode != 101 {
				t.Fatalf("cut after %d bytes: %v, %v", cut, r, err)
			}
			c.expect(t, reply{opText, "hello"})
			c.expectClose(t, 1000)
			conn.Close()
		}
	})
}

// A client that does not complete its request, however it sends it, is closed at the timeout.
func TestHandshakeTimeout(t *testing.T) {
	bubble(t, looptest.Config{}, defaults, func(t *testing.T, s *simulation) {
		silent, slow := s.dial(t), s.dial(t)
		defer silent.Close()
		defer slow.Close()
		began, written := time.Now(), make(chan struct{})
		go func() {
			defer close(written)
			for _, b := range []byte(request(echoPath)) {
				if _, err := slow.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		for _, c := range []io.Reader{silent, slow} {
			n, err := c.Read(make([]byte, 1))
			if took := time.Since(began); n != 0 || err == nil || took < s.handshakeTimeout || took > s.handshakeTimeout+time.Second {
				t.Errorf("after %v: %d, %v", took, n, err)
			}
		}
		<-written
	})
}

// Requests that are not for a WebSocket of this server get a response that states why.
func TestRefusedHandshakes(t *testing.T) {
	o := defaults
	o.origins = []string{"https://friend.example"}
	bubble(t, looptest.Config{}, o, func(t *testing.T, s *simulation) {
		origin := func(o string) string {
			return strings.Replace(request(echoPath), "\r\nUpgrade", "\r\nOrigin: "+o+"\r\nUpgrade", 1)
		}
		for _, c := range []struct {
			request string
			status  int
		}{
			{request(echoPath), 101},
			{request("/hub/a?b=c"), 101},
			{request("/hub/" + strings.Repeat("a", maxRoomName)), 101},
			{request("/hub/" + strings.Repeat("a", maxRoomName+1)), 404},
			{request("/hub/"), 404},
			{request("/"), 404},
			{origin("http://server.example"), 101},
			{origin("https://SERVER.example"), 101},
			{origin("https://friend.example"), 101},
			{origin("http://friend.example"), 403},
			{origin("https://server.example:444"), 403},
			{origin("https://server.example.evil.example"), 403},
			{origin("null"), 403},
			{strings.Replace(origin("null"), "Host: server.example", "Host:", 1), 403},
			{"GET / HTTP/1.1\r\nHost: server.example\r\n\r\n", 426},
			{"\x16\x03\x01 a ClientHello\r\n\r\n", 400},
			{strings.Repeat("x", 8<<10), 431},
		} {
			conn := s.dial(t)
			io.WriteString(conn, c.request)
			r, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || r.StatusCode != c.status {
				t.Errorf("%.100q: %v, %v, want %d", c.request, r, err, c.status)
			} else if c.status != 101 {
				if _, err := io.ReadAll(r.Body); err != nil || !r.Close {
					t.Errorf("%.100q: the response has no end: %v", c.request, err)
				}
				if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("%.100q: after the response: %d, %v, want the end", c.request, n, err)
				}
			}
			conn.Close()
		}
	})
}

// All members of a room get each message of it, in one order, and nobody else does.
func TestRooms(t *testing.T) {
	o := defaults
	o.loops = 3
	bubble(t, looptest.Config{Link: looptest.Link{Jitter: time.Millisecond}}, o, func(t *testing.T, s *simulation) {
		const each = 50
		var members []*client
		for range 5 {
			c, _ := s.join(t, "go")
			members = append(members, c)
		}
		other, otherConn := s.join(t, "c")
		for i, m := range members {
			go func() {
				for n := range each {
					m.Write(frame(fin|opText+byte(n%2), fmt.Sprint(i, " ", n)))
				}
			}()
		}
		var first []reply
		for i, m := range members {
			var got []reply
			next := [5]int{}
			for range each * len(members) {
				r, err := m.next()
				if err != nil {
					t.Fatal(err)
				}
				var from, n int
				fmt.Sscan(r.payload, &from, &n)
				if n != next[from] || r.op != opText+byte(n%2) {
					t.Fatalf("member %d got %v, want message %d of %d", i, r, next[from], from)
				}
				next[from]++
				got = append(got, r)
			}
			if i == 0 {
				first = got
			} else if fmt.Sprint(got) != fmt.Sprint(first) {
				t.Errorf("member %d got the messages in another order", i)
			}
		}
		settle()
		if n := otherConn.Unread() + other.in.Buffered(); n > 0 {
			t.Errorf("the member of another room got %d bytes", n)
		}
		if rooms, n, pending := s.hub.counts(); rooms != 2 || n != 6 || pending != 0 {
			t.Errorf("%d rooms, %d members, %d bytes pending", rooms, n, pending)
		}
		for _, m := range append(members[1:], other) { // one closes by the book, the others vanish
			m.Close()
		}
		members[0].Write(closing(4000, "bye"))
		members[0].expectClose(t, 4000)
		members[0].Close()
		settle()
		if rooms, n, _ := s.hub.counts(); rooms != 0 || n != 0 {
			t.Errorf("after the last client: %d rooms, %d members", rooms, n)
		}
		if got := s.stats.ends(); got != "1006: 5, 4000: 1" {
			t.Errorf("the ends are %q", got)
		}
	})
}

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

// flood sends messages by one member of a room, which reads them all, while another one does not
// read. It returns the messages, and both clients.
func flood(t *testing.T, s *simulation) (sent []reply, fast, slow *client) {
	t.Helper()
	slow, _ = s.join(t, "a")
	fast, _ = s.join(t, "a")
	for i := range 100 {
		r := reply{opText, fmt.Sprintf("%d %s", i, strings.Repeat("x", s.maxMessageBytes-10))}
		sent = append(sent, r)
		fast.Write(text(r.payload))
		fast.expect(t, r)
	}
	return sent, fast, slow
}

func slowOptions() options {
	o := defaults
	o.maxMessageBytes, o.maxUnsentBytes = 8<<10, 32<<10
	return o
}

// A slow client gets what was sent before, then the reason; the others get everything.
func TestSlowClientsAreClosed(t *testing.T) {
	bubble(t, looptest.Config{}, slowOptions(), func(t *testing.T, s *simulation) {
		sent, _, slow := flood(t, s)
		got := 0
		for ; ; got++ {
			r, err := slow.next()
			if err != nil {
				t.Fatal(err)
			}
			if r.op == opClose {
				if r.code() != 1008 || !strings.Contains(r.payload, "slow") {
					t.Errorf("the slow client got %v", r)
				}
				break
			}
			if r != sent[got] {
				t.Fatalf("message %d is %v, want %v", got, r, sent[got])
			}
		}
		if got == 0 || got == len(sent) {
			t.Errorf("the slow client got %d messages of %d", got, len(sent))
		}
		if _, err := slow.in.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("after the Close frame: %v", err)
		}
	})
}

// A slow client that does not even take the reason is reset after a while.
func TestSlowClientsAreCutOff(t *testing.T) {
	bubble(t, looptest.Config{}, slowOptions(), func(t *testing.T, s *simulation) {
		flood(t, s)
		time.Sleep(2*s.group.Config().LingerTimeout + time.Second)
		if n := s.group.Conns(); n != 1 {
			t.Errorf("there are %d connections, want that of the client that reads", n)
		}
	})
}

// With -slow skip, a slow client stays, and misses messages.
func TestSlowClientsMissMessages(t *testing.T) {
	o := slowOptions()
	o.skipSlow = true
	bubble(t, looptest.Config{}, o, func(t *testing.T, s *simulation) {
		sent, fast, slow := flood(t, s)
		settle()
		missed := int(s.stats.slow.Load())
		next := 0
		for got := range len(sent) - missed {
			r, err := slow.next()
			if err != nil {
				t.Fatal(err)
			}
			for next < len(sent) && sent[next] != r {
				next++
			}
			if next++; next > len(sent) {
				t.Fatalf("message %d is %v, which is not one of those that follow", got, r)
			}
		}
		if missed == 0 {
			t.Error("the slow client has missed nothing")
		}
		settle()
		fast.Write(text("the last one"))
		slow.expect(t, reply{opText, "the last one"})
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
