package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop/looptest"
)

// All members of a room get each message of it, in one order; other clients get none.
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
