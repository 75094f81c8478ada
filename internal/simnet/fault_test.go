package simnet

import (
	"errors"
	"math"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
)

func TestFaultsValidate(t *testing.T) {
	for field, f := range map[string]Faults{
		"PartialReads": {PartialReads: 2}, "PartialWrites": {PartialWrites: -1}, "WouldBlock": {WouldBlock: math.NaN()},
		"Resets": {Resets: math.Inf(1)}, "NoDescriptors": {NoDescriptors: 1.01},
	} {
		if err := f.Validate(); err == nil || !strings.Contains(err.Error(), "Faults."+field) {
			t.Errorf("an invalid %s: %v", field, err)
		}
	}
	f := Faults{PartialReads: 1, PartialWrites: 1, WouldBlock: 1, Resets: 1, NoDescriptors: 1}
	if err := f.Validate(); err != nil {
		t.Error(err)
	}
}

// Partial calls transfer every size from one byte to all, and lose nothing.
func TestPartialReadsAndWrites(t *testing.T) {
	const text = "0123456789"
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		a, b := connect(t, n.Host(), n.Host())
		two := func(s string) [][]byte { return [][]byte{[]byte(s[:len(s)/2]), []byte(s[len(s)/2:])} }
		sizes := map[string]map[int]int{"writes": {}, "reads": {}}
		const calls = 4000
		n.SetFaults(Faults{PartialWrites: 0.5, PartialReads: 0.5})
		for range calls {
			k, e := a.s.Send(two(text), 0)
			if e != 0 {
				t.Fatal(e)
			}
			sizes["writes"][k]++
			if k < len(text) {
				n.SetFaults(Faults{})
				a.s.Send(two(text[k:]), 0)
				n.SetFaults(Faults{PartialWrites: 0.5, PartialReads: 0.5})
			}
			bufs := [][]byte{make([]byte, 3), make([]byte, 20)}
			k, e = b.s.Recv(bufs, 0)
			if e != 0 {
				t.Fatal(e)
			}
			sizes["reads"][k]++
			got := string(bufs[0][:min(k, 3)]) + string(bufs[1][:max(k-3, 0)])
			for len(got) < len(text) {
				more := make([]byte, 20)
				k, e := b.s.Recv([][]byte{more}, 0)
				if e != 0 {
					t.Fatal(e)
				}
				got += string(more[:k])
			}
			if got != text {
				t.Fatalf("received %q, want %q", got, text)
			}
		}
		for what, all := range sizes {
			if !near(calls-all[len(text)], calls, 0.5) {
				t.Errorf("%d of %d %s are partial; the probability is 0.5", calls-all[len(text)], calls, what)
			}
			for k := 1; k < len(text); k++ {
				if !near(all[k], calls, 0.5/float64(len(text)-1)) {
					t.Errorf("%d of %d %s have %d bytes", all[k], calls, what, k)
				}
			}
		}
		n.SetFaults(Faults{PartialWrites: 1, PartialReads: 1})
		for range 10 {
			if k, e := a.s.Send([][]byte{[]byte("x")}, 0); k != 1 || e != 0 {
				t.Errorf("a write of a byte = %d, %v", k, e)
			}
		}
	})
}

// changes counts what a Watcher gets.
type changes struct{ count int }

func (c *changes) Changed(*Socket) { c.count++ }

// A call that would block by a fault is followed by an event, and the next call by progress.
func TestWouldBlock(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		h := n.Host()
		a, b := connect(t, n.Host(), h)
		write(t, a, "xy") // a byte for each second call
		u := listenPacket(t, h)
		n.SetFaults(Faults{WouldBlock: 1})
		for name, c := range map[string]struct {
			s    *Socket
			call func() syscall.Errno
		}{
			"Send": {b.s, func() syscall.Errno { _, e := b.s.Send([][]byte{{1}}, 0); return e }},
			"Recv": {b.s, func() syscall.Errno { _, e := b.s.Recv([][]byte{make([]byte, 1)}, 0); return e }},
			"SendTo": {u.s, func() syscall.Errno {
				_, e := u.s.SendTo([]byte("x"), u.s.sockaddr(u.s.local))
				return e
			}},
			"RecvFrom": {u.s, func() syscall.Errno {
				n.SetFaults(Faults{})
				u.s.SendTo([]byte("x"), u.s.sockaddr(u.s.local))
				n.SetFaults(Faults{WouldBlock: 1})
				_, _, _, e := u.s.RecvFrom(make([]byte, 1))
				return e
			}},
		} {
			var w changes
			if e := c.call(); e != syscall.EAGAIN {
				t.Errorf("%s = %v, want EAGAIN", name, e)
			}
			c.s.SetWatcher(&w)
			a := n.NewActor()
			a.Wait(1)
			if w.count == 0 {
				t.Errorf("%s: no event follows", name)
			}
			c.s.SetWatcher(nil)
			if e := c.call(); e != 0 {
				t.Errorf("the second %s = %v", name, e)
			}
			if e := c.call(); e != syscall.EAGAIN {
				t.Errorf("the third %s = %v, want EAGAIN", name, e)
			}
			c.call()
		}
		n.NewActor().Wait(time.Second) // until the events of the third calls have come
		// What would block anyway is not a fault, which had an event.
		n.NewActor().Wait(1) // the events of the last calls
		var w changes
		b.s.SetWatcher(&w)
		if _, e := b.s.Recv([][]byte{make([]byte, 1)}, 0); e != syscall.EAGAIN {
			t.Error(e)
		}
		n.NewActor().Wait(1)
		if w.count != 0 {
			t.Error("an event follows a call that would block")
		}
	})
}

func TestWouldBlockAccept(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		h := n.Host()
		l, err := h.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		c, err := h.Dial(t.Context(), "tcp", l.Addr().String())
		must(t, err)
		defer c.Close()
		n.SetFaults(Faults{WouldBlock: 1})
		var w changes
		l.s.SetWatcher(&w)
		if _, _, e := l.s.Accept(); e != syscall.EAGAIN {
			t.Errorf("Accept = %v, want EAGAIN", e)
		}
		n.NewActor().Wait(1)
		if w.count == 0 {
			t.Error("no event follows")
		}
		fd, _, e := l.s.Accept()
		if e != 0 {
			t.Fatal(e)
		}
		sys.Close(fd)
	})
}

// Faults are those of one host, or of all.
func TestFaultsOfAHost(t *testing.T) {
	open := func(h *Host) (ok bool) {
		fd, e := h.Socket(sys.AF_INET, sys.SOCK_DGRAM)
		if e == 0 {
			sys.Close(fd)
		}
		return e == 0
	}
	n := New(Config{Faults: Faults{NoDescriptors: 1}})
	a, b := n.Host(), n.Host()
	if open(a) || open(b) {
		t.Error("Config.Faults do not apply to all hosts")
	}
	a.SetFaults(Faults{})
	if !open(a) || open(b) {
		t.Error("Host.SetFaults does not apply to one host")
	}
	n.SetFaults(Faults{NoDescriptors: 1})
	if open(a) || open(n.Host()) {
		t.Error("Network.SetFaults does not apply to all hosts, and those to come")
	}
}

func TestResets(t *testing.T) {
	const writes, p = 2000, 0.1
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		a, b := n.Host(), n.Host()
		n.SetFaults(Faults{Resets: p})
		resets := 0
		for range writes {
			client, server := connect(t, a, b)
			write(t, client, "x")
			k, err := server.Read(make([]byte, 1))
			switch {
			case k == 1 && err == nil:
			case errors.Is(err, syscall.ECONNRESET):
				resets++
				if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the sender: %v, want ECONNRESET", err)
				}
			default:
				t.Errorf("Read = %d, %v", k, err)
			}
			client.Close()
			server.Close()
		}
		if !near(resets, writes, p) {
			t.Errorf("%d of %d connections are reset; the probability is %v", resets, writes, p)
		}
	})
}

func TestNoDescriptors(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		h := n.Host()
		const calls, p = 2000, 0.25
		n.SetFaults(Faults{NoDescriptors: p})
		failed := 0
		for range calls {
			fd, e := h.Socket(sys.AF_INET, sys.SOCK_DGRAM)
			switch e {
			case 0:
				sys.Close(fd)
			case syscall.EMFILE:
				failed++
			default:
				t.Fatal(e)
			}
		}
		if !near(failed, calls, p) {
			t.Errorf("%d of %d calls fail; the probability is %v", failed, calls, p)
		}
		n.SetFaults(Faults{})
		h.SetMaxDescriptors(2)
		u := listenPacket(t, h)
		l, err := h.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		if _, err := h.ListenPacket("udp", ":0"); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("the third descriptor: %v, want EMFILE", err)
		}
		u.Close()
		if h.Descriptors() != 1 {
			t.Errorf("%d descriptors are open, want 1", h.Descriptors())
		}
	})
}
