package simnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

// first returns a rule with a verdict on the first segments of a kind, and passes all others.
func first(k Kind, count int, v Verdict) func(*Segment) Verdict {
	return func(s *Segment) Verdict {
		if s.Kind != k || count == 0 {
			return Pass
		}
		count--
		return v
	}
}

func always(k Kind, v Verdict) func(*Segment) Verdict { return first(k, -1, v) }

// readError returns the bytes that precede an error, and the error, at the end of a stream.
func readError(c net.Conn) (string, error) {
	b, err := io.ReadAll(c)
	if err == nil {
		err = io.EOF
	}
	return string(b), err
}

func TestRuleSegments(t *testing.T) {
	bubble(t, Config{Link: Link{Latency: time.Millisecond}}, func(t *testing.T, n *Network) {
		a, b := n.Host(), n.Host()
		kinds := map[Kind]int{}
		var data strings.Builder
		n.SetRule(func(s *Segment) Verdict {
			kinds[s.Kind]++
			switch {
			case s.FromHost == a && s.ToHost == b && s.From.Addr() == a.Addr() && s.To.Addr() == b.Addr():
			case s.FromHost == b && s.ToHost == a && s.From.Addr() == b.Addr() && s.To.Addr() == a.Addr():
			default:
				t.Errorf("%v from %v %v to %v %v", s.Kind, s.FromHost, s.From, s.ToHost, s.To)
			}
			if s.Kind == KindData {
				if s.Offset != int64(data.Len()) || s.Attempt != 0 {
					t.Errorf("offset %d, attempt %d, want %d and 0", s.Offset, s.Attempt, data.Len())
				}
				data.Write(s.Data)
			}
			if s.Kind == KindFIN && s.FromHost == a && s.Offset != int64(data.Len()) {
				t.Errorf("a FIN at %d, want %d", s.Offset, data.Len())
			}
			return Pass
		})
		client, server := connect(t, a, b)
		for _, text := range []string{"one", "two", "three"} {
			write(t, client, text)
			read(t, server)
		}
		client.Close()
		if _, err := readError(server); err != io.EOF {
			t.Error(err)
		}
		server.Close()
		if u := listenPacket(t, a); true {
			u.WriteTo([]byte("four"), listenPacket(t, b).LocalAddr())
		}
		if data.String() != "onetwothree" {
			t.Errorf("the rule has seen %q", data.String())
		}
		for _, k := range []Kind{KindSYN, KindSYNACK, KindData, KindACK, KindFIN, KindDatagram} {
			if kinds[k] == 0 {
				t.Errorf("the rule was not called for a %v: %v", k, kinds)
			}
		}
	})
}

// A dropped segment of any kind is sent again, and nothing that follows overtakes it.
func TestRuleDrop(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		want time.Duration // for two lost attempts
	}{
		{KindSYN, 3 * time.Second}, {KindSYNACK, 3 * time.Second}, {KindData, 600 * time.Millisecond}, {KindFIN, 600 * time.Millisecond},
	} {
		t.Run(c.kind.String(), func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, n *Network) {
				a, b := n.Host(), n.Host()
				n.SetRule(func(s *Segment) Verdict {
					if s.Kind == c.kind && s.Attempt < 2 && (s.FromHost == a) == (c.kind != KindSYNACK) && (c.kind != KindData || s.Offset == 0) {
						return Drop
					}
					return Pass
				})
				start := time.Now()
				client, server := connect(t, a, b)
				write(t, client, "one")
				write(t, client, "two")
				client.CloseWrite()
				if got, err := readError(server); got != "onetwo" || err != io.EOF {
					t.Errorf("received %q, %v", got, err)
				}
				took(t, "it", start, c.want)
			})
		})
	}
}

// Without an ACK the sender keeps its bytes, and has them acknowledged in the end.
func TestRuleDropsACK(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := connect(t, n.Host(), n.Host())
		n.SetRule(first(KindACK, 1, Drop))
		write(t, client, "x")
		if got := read(t, server); got != "x" {
			t.Error(got)
		}
		if n, known := client.s.UnackedBytes(); n != 1 || !known {
			t.Errorf("%d bytes are not acknowledged, want 1", n)
		}
		time.Sleep(firstRetry)
		if n, _ := client.s.UnackedBytes(); n != 0 {
			t.Errorf("%d bytes are not acknowledged, want 0", n)
		}
	})
}

func TestRuleDelay(t *testing.T) {
	bubble(t, Config{Link: Link{Latency: time.Millisecond}}, func(t *testing.T, n *Network) {
		client, server := connect(t, n.Host(), n.Host())
		n.SetRule(first(KindData, 1, Delay(time.Minute)))
		start := time.Now()
		write(t, client, "one")
		write(t, client, "two")
		if got := read(t, server); !strings.HasPrefix(got, "one") {
			t.Errorf("received %q", got)
		}
		took(t, "a delayed segment", start, time.Minute+time.Millisecond)

		// Datagrams do not wait for a delayed one.
		from, to := listenPacket(t, client.s.host), listenPacket(t, server.s.host)
		n.SetRule(first(KindDatagram, 1, Delay(time.Minute)))
		start = time.Now()
		for _, text := range []string{"one", "two"} {
			from.WriteTo([]byte(text), to.LocalAddr())
		}
		for i, want := range []string{"two", "one"} {
			b := make([]byte, 10)
			k, _, err := to.ReadFrom(b)
			if string(b[:k]) != want || err != nil {
				t.Errorf("received %q, %v, want %q", b[:k], err, want)
			}
			took(t, want, start, time.Millisecond+time.Duration(i)*time.Minute)
		}
	})
}

func TestRuleReset(t *testing.T) {
	bubble(t, Config{Link: Link{Latency: time.Millisecond}}, func(t *testing.T, n *Network) {
		client, server := connect(t, n.Host(), n.Host())
		write(t, client, "before")
		n.SetRule(first(KindData, 1, Reset))
		write(t, client, "lost")
		if got, err := readError(server); got != "before" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the receiver: %q, %v, want what precedes the reset, and ECONNRESET", got, err)
		}
		if _, err := readError(client); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the sender: %v, want ECONNRESET", err)
		}
	})
}

// A connection can be cut after every byte.
func TestRuleResetAfter(t *testing.T) {
	const text = "a message"
	for cut := range len(text) + 2 {
		for _, link := range []Link{{}, {Latency: time.Millisecond}} {
			bubble(t, Config{Link: link}, func(t *testing.T, n *Network) {
				client, server := connect(t, n.Host(), n.Host())
				n.SetRule(first(KindData, 1, ResetAfter(cut)))
				write(t, client, text)
				want := text[:min(cut, len(text))]
				if got, err := readError(server); got != want || !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the receiver: %q, %v, want %q and ECONNRESET", got, err, want)
				}
				if _, err := readError(client); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the sender: %v, want ECONNRESET", err)
				}
				if line := fmt.Sprintf("data [%d,", len(want)); !strings.Contains(n.Trace(), line) {
					t.Errorf("the trace does not have %q:\n%s", line, n.Trace())
				}
			})
		}
	}
}

// dialError returns the error of connecting to a listener.
func dialError(t *testing.T, from, to *Host) error {
	l, err := to.Listen("tcp", to.Addr().String()+":0")
	must(t, err)
	defer l.Close()
	c, err := from.Dial(context.Background(), "tcp", l.Addr().String())
	if err == nil {
		c.Close()
	}
	return err
}

func TestConnectsRefusedOrDropped(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*Network, *Host)
		want error
		took time.Duration
	}{
		"no rule":        {func(*Network, *Host) {}, nil, 2 * time.Millisecond},
		"Refuse":         {func(n *Network, _ *Host) { n.SetRule(always(KindSYN, Refuse)) }, syscall.ECONNREFUSED, 2 * time.Millisecond},
		"Reset":          {func(n *Network, _ *Host) { n.SetRule(always(KindSYN, Reset)) }, syscall.ECONNREFUSED, 2 * time.Millisecond},
		"Drop":           {func(n *Network, _ *Host) { n.SetRule(always(KindSYN, Drop)) }, syscall.ETIMEDOUT, connectTimeout},
		"RefuseConnects": {func(_ *Network, h *Host) { h.SetConnectPolicy(RefuseConnects) }, syscall.ECONNREFUSED, 2 * time.Millisecond},
		"DropConnects":   {func(_ *Network, h *Host) { h.SetConnectPolicy(DropConnects) }, syscall.ETIMEDOUT, connectTimeout},
		"AcceptConnects": {func(_ *Network, h *Host) { h.SetConnectPolicy(DropConnects); h.SetConnectPolicy(AcceptConnects) }, nil, 2 * time.Millisecond},
		"a rule that passes, RefuseConnects": {func(n *Network, h *Host) {
			n.SetRule(always(KindSYN, Delay(time.Second)))
			h.SetConnectPolicy(RefuseConnects)
		}, syscall.ECONNREFUSED, 2 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{Link: Link{Latency: time.Millisecond}}, func(t *testing.T, n *Network) {
				a, b := n.Host(), n.Host()
				c.set(n, b)
				start := time.Now()
				if err := dialError(t, a, b); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
					t.Errorf("Dial = %v, want %v", err, c.want)
				}
				took(t, "Dial", start, c.took)
				if d := a.Descriptors() + b.Descriptors(); d != 0 {
					t.Errorf("%d descriptors are open", d)
				}
			})
		})
	}
}

// noDatagram fails the test if one arrives within a second.
func noDatagram(t *testing.T, c *PacketConn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Second))
	defer c.SetReadDeadline(time.Time{})
	b := make([]byte, 100)
	if k, _, err := c.ReadFrom(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("received %q, %v, want nothing", b[:k], err)
	}
}

func TestRuleOnDatagrams(t *testing.T) {
	bubble(t, Config{Link: Link{Latency: time.Millisecond}}, func(t *testing.T, n *Network) {
		a, b := n.Host(), n.Host()
		to := listenPacket(t, b)
		c, err := a.Dial(context.Background(), "udp", to.LocalAddr().String())
		must(t, err)
		defer c.Close()
		for _, v := range []Verdict{Drop, Reset} {
			n.SetRule(first(KindDatagram, 1, v))
			write(t, c, "lost")
			noDatagram(t, to)
		}
		n.SetRule(first(KindDatagram, 1, Refuse))
		start := time.Now()
		write(t, c, "refused")
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Read = %v, want ECONNREFUSED", err)
		}
		took(t, "a refusal", start, time.Millisecond) // the way back
		write(t, c, "passed")
		b2 := make([]byte, 100)
		if k, _, err := to.ReadFrom(b2); string(b2[:k]) != "passed" || err != nil {
			t.Errorf("received %q, %v", b2[:k], err)
		}
	})
}

// While a partition is one way, bytes arrive and are not acknowledged. What is sent against it
// arrives with the first retransmission after it.
func TestPartitionOneWay(t *testing.T) {
	bubble(t, Config{Link: Link{Latency: time.Millisecond}}, func(t *testing.T, n *Network) {
		a, b := n.Host(), n.Host()
		client, server := connect(t, a, b)
		n.Partition(b, a, true)
		start := time.Now()
		write(t, client, "ping")
		if got := read(t, server); got != "ping" {
			t.Errorf("received %q", got)
		}
		took(t, "a ping", start, time.Millisecond)
		start = time.Now()
		write(t, server, "pong")
		time.Sleep(10 * time.Second)
		if k, _ := client.s.UnackedBytes(); k != 4 {
			t.Errorf("%d bytes are not acknowledged, want 4", k)
		}
		n.Partition(b, a, false)
		if got := read(t, client); got != "pong" {
			t.Errorf("received %q", got)
		}
		took(t, "a pong", start, 200*time.Millisecond*(1<<6-1)+time.Millisecond) // 0.2, 0.6, 1.4, 3, 6.2, 12.6 s
		time.Sleep(10 * time.Second)
		if k, _ := client.s.UnackedBytes(); k != 0 {
			t.Errorf("%d bytes are not acknowledged, want 0", k)
		}
	})
}

func TestPartitionBothWays(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		a, b, other := n.Host(), n.Host(), n.Host()
		client, server := connect(t, a, b)
		from, to := listenPacket(t, a), listenPacket(t, b)
		for _, on := range []bool{true, false} {
			n.Partition(a, b, on)
			n.Partition(b, a, on)
			from.WriteTo([]byte("x"), to.LocalAddr())
			if on {
				write(t, client, "x")
				noDatagram(t, to)
				if err := dialError(t, other, b); err != nil {
					t.Errorf("a third host cannot connect: %v", err)
				}
				start := time.Now()
				if err := dialError(t, a, b); !errors.Is(err, syscall.ETIMEDOUT) {
					t.Errorf("Dial = %v, want ETIMEDOUT", err)
				}
				took(t, "Dial", start, connectTimeout)
			}
		}
		if got := read(t, server); got != "x" {
			t.Errorf("received %q", got)
		}
		if k, _, err := to.ReadFrom(make([]byte, 10)); k != 1 || err != nil {
			t.Errorf("received %d bytes, %v, want 1", k, err)
		}
	})
}

// A connection that does not get through fails: after TCP_USER_TIMEOUT, or a quarter of an hour. The
// other end, which sends nothing, notices nothing.
func TestPartitionTimesOut(t *testing.T) {
	for _, user := range []time.Duration{0, 5 * time.Second} {
		bubble(t, Config{}, func(t *testing.T, n *Network) {
			a, b := n.Host(), n.Host()
			client, server := connect(t, a, b)
			client.s.options.userTimeout = int(user.Milliseconds()) // not all systems have the option
			n.Partition(a, b, true)
			start := time.Now()
			write(t, client, "x")
			want := resendTimeout
			if user > 0 {
				want = user
			}
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
				t.Errorf("Read = %v, want ETIMEDOUT", err)
			}
			took(t, "the timeout", start, want)
			server.SetReadDeadline(time.Now().Add(time.Hour))
			if _, err := server.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read of the other end = %v, want nothing", err)
			}
		})
	}
}

func TestSetLinkPanics(t *testing.T) {
	n := New(Config{})
	h := n.Host()
	for name, f := range map[string]func(){
		"SetLink":   func() { n.SetLink(h, h, Link{Latency: -1}) },
		"SetFaults": func() { n.SetFaults(Faults{Resets: 2}) },
		"New":       func() { New(Config{Link: Link{Loss: -1}}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s accepts what is out of range", name)
				}
			}()
			f()
		}()
	}
}

// A rule that calls the network panics, instead of waiting for itself.
func TestRuleCallsNetwork(t *testing.T) {
	for name, call := range map[string]func(n *Network, s *Segment){
		"Now":     func(n *Network, _ *Segment) { n.Now() },
		"Tracef":  func(n *Network, _ *Segment) { n.Tracef("x") },
		"SetLink": func(n *Network, s *Segment) { n.SetLink(s.FromHost, s.ToHost, Link{}) },
		"Crash":   func(_ *Network, s *Segment) { s.ToHost.Crash() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, n *Network) {
				from, to := listenPacket(t, n.Host()), listenPacket(t, n.Host())
				n.SetRule(func(s *Segment) Verdict {
					call(n, s)
					return Pass
				})
				defer func() {
					if text, _ := recover().(string); !strings.Contains(text, "a rule (SetRule) called") {
						t.Errorf("panic: %q", text)
					}
				}()
				from.WriteTo([]byte("x"), to.LocalAddr())
			})
		})
	}
}

// Other goroutines may call the network while a rule runs: they wait until it has returned.
func TestCallsBesideRule(t *testing.T) {
	testkit.CheckLeaks(t)
	n := New(Config{Manual: true})
	defer n.Close()
	from, to := listenPacket(t, n.Host()), listenPacket(t, n.Host())
	called := make(chan bool)
	n.SetRule(func(*Segment) Verdict {
		go func() {
			defer close(called)
			n.Now()
		}()
		if !testkit.Eventually(func() bool {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			return bytes.Contains(stacks, []byte("[sync.Mutex.Lock")) && bytes.Contains(stacks, []byte("simnet.(*Network).Now"))
		}) {
			t.Error("Now did not wait for the rule")
		}
		return Pass
	})
	_, err := from.WriteTo([]byte("x"), to.LocalAddr())
	must(t, err)
	<-called
}

// A rule may end in a panic: calls on the network return afterwards.
func TestRulePanics(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := connect(t, n.Host(), n.Host())
		n.SetRule(func(*Segment) Verdict { panic("mistake") })
		func() {
			defer func() {
				if recover() != "mistake" {
					t.Error("the panic was lost")
				}
			}()
			client.Write([]byte("x"))
		}()
		if _, err := server.Read([]byte{0}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read returned %v, want net.ErrClosed", err)
		}
		if !strings.Contains(n.Trace(), "the rule did not return") {
			t.Error(n.Trace())
		}
	})
}
