package simnet

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// Times that exceed what an int64 of nanoseconds holds mean never, not at once.
func TestEndlessDelays(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	for name, set := range map[string]func(n *Network, a, b *Host){
		"Latency": func(n *Network, a, b *Host) { n.SetLink(a, b, Link{Latency: forever}) },
		"Jitter":  func(n *Network, a, b *Host) { n.SetLink(a, b, Link{Latency: forever, Jitter: forever}) },
		"Reorder": func(n *Network, a, b *Host) { n.SetLink(a, b, Link{Latency: forever, Jitter: forever, Reorder: 1}) },
		"Delay":   func(n *Network, a, b *Host) { n.SetRule(func(*Segment) Verdict { return Delay(forever) }) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, n *Network) {
				a, b := n.Host(), n.Host()
				from, to := listenPacket(t, a), listenPacket(t, b)
				time.Sleep(time.Hour)
				set(n, a, b)
				for range 3 {
					_, err := from.WriteTo([]byte("x"), to.LocalAddr())
					must(t, err)
				}
				must(t, to.SetReadDeadline(time.Now().Add(24*time.Hour)))
				if _, _, err := to.ReadFrom(oneByte()); err == nil {
					t.Error("a datagram arrived")
				}
			})
		})
	}
}

func oneByte() []byte { return []byte{0} }

// A reset that a rule asks for takes the latency of the link, also if that is endless.
func TestEndlessReset(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		a, b := n.Host(), n.Host()
		client, _ := connect(t, a, b)
		time.Sleep(time.Hour)
		n.SetLink(a, b, Link{Latency: math.MaxInt64})
		n.SetLink(b, a, Link{Latency: math.MaxInt64})
		n.SetRule(first(KindData, 1, Reset))
		write(t, client, "x")
		must(t, client.SetReadDeadline(time.Now().Add(time.Hour)))
		if _, err := client.Read(oneByte()); !isTimeout(err) {
			t.Errorf("Read returned %v, want a timeout", err)
		}
	})
}

// Advance by more than the clock holds moves it to its end.
func TestAdvanceForever(t *testing.T) {
	n := New(Config{Manual: true})
	defer n.Close()
	n.Advance(time.Hour)
	began := n.Now()
	for range 2 {
		n.Advance(math.MaxInt64)
		if moved := n.Now().Sub(began); moved != math.MaxInt64-time.Hour {
			t.Errorf("the clock moved by %v, want the rest of an int64", moved)
		}
	}
}

// A deadline that is farther in the past than an int64 holds has passed.
func TestDeadlineLongAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{})
		defer n.Close()
		client, _ := connect(t, n.Host(), n.Host())
		time.Sleep(time.Hour)
		must(t, client.SetReadDeadline(time.Time{}.Add(1)))
		if _, err := client.Read(oneByte()); !isTimeout(err) {
			t.Errorf("Read returned %v, want a timeout", err)
		}
	})
}

func isTimeout(err error) bool {
	e, ok := err.(interface{ Timeout() bool })
	return ok && e.Timeout()
}

// A function of the test may end it (testing.T.FailNow), or panic.
func TestAdvanceUntilIsLeft(t *testing.T) {
	n := New(Config{Manual: true})
	defer n.Close()
	func() {
		defer func() {
			if recover() != "left" {
				t.Error("the panic was lost")
			}
		}()
		n.AdvanceUntil(time.Hour, func() bool { panic("left") })
	}()
	n.Advance(time.Second) // the lock is free
}

// A burst of large datagrams leaves little memory behind.
func TestFreePacketsAreBounded(t *testing.T) {
	bubble(t, Config{Link: Link{Latency: time.Second}, TraceEvents: -1}, func(t *testing.T, n *Network) {
		from, to := listenPacket(t, n.Host()), listenPacket(t, n.Host())
		for range maxFreePackets + 100 {
			_, err := from.WriteTo(make([]byte, 3000), to.LocalAddr())
			must(t, err)
		}
		time.Sleep(2 * time.Second)
		for b := oneByte(); to.s.protocol.unreadLocked() > 0; {
			_, _, err := to.ReadFrom(b)
			must(t, err)
		}
		count, bytes := 0, 0
		for p := n.freePackets; p != nil; p = p.next {
			count++
			bytes += cap(p.data)
		}
		if count != maxFreePackets || count != n.freeCount || bytes > count*keptDatagram {
			t.Errorf("%d packets (%d counted) with %d B are free, want %d with at most %d B each", count, n.freeCount, bytes, maxFreePackets, keptDatagram)
		}
	})
}
