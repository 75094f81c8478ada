package exchange

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

// A silent server costs an attempt; the next one is asked.
func TestSilence(t *testing.T) {
	silent, s := &exchangetest.Server{UDP: exchangetest.Silent}, &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		began := time.Now()
		r := n.ask("www.example.com")
		n.wantAddr(r, exchangetest.TrueAddr)
		if took := time.Since(began); took < 5*time.Second || took > 5*time.Second+10*time.Millisecond {
			t.Errorf("took %v, want one timeout", took)
		}
		if len(r.Steps) != 1 || r.Steps[0].Server != silent.Addr || !errors.Is(r.Steps[0].Err, os.ErrDeadlineExceeded) || r.Server != s.Addr {
			t.Fatalf("steps %v, server %v", r.Steps, r.Server)
		}
		// A turn of a loop, from the beginning of an attempt to its sending, takes a nanosecond.
		if took := r.Steps[0].Took.Round(time.Microsecond); took < 5*time.Second || took > 5*time.Second+10*time.Millisecond {
			t.Errorf("the attempt took %v, want 5 s", took)
		}
	}, silent, s)
}

// All servers are asked as often as the policy permits, and then the query ends.
func TestAllSilent(t *testing.T) {
	a, b := &exchangetest.Server{UDP: exchangetest.Silent}, &exchangetest.Server{UDP: exchangetest.Silent}
	onTestNet(t, func(n *testNet) {
		began := time.Now()
		r := n.ask("www.example.com")
		if !errors.Is(r.Err, os.ErrDeadlineExceeded) || len(r.Steps) != 4 || a.Queries[0] != 2 || b.Queries[0] != 2 {
			t.Errorf("%v, steps %v, %d and %d queries", r.Err, r.Steps, a.Queries[0], b.Queries[0])
		}
		if took := time.Since(began); took < 20*time.Second {
			t.Errorf("took %v, want 4 attempts of 5 s", took)
		}
	}, a, b)
}

func TestServerFailureOnce(t *testing.T) {
	s := &exchangetest.Server{}
	s.UDP = func(q []byte) []exchangetest.Message {
		if s.Queries[0] == 1 {
			return []exchangetest.Message{exchangetest.AnswerTo(q).Rcode(2)}
		}
		return exchangetest.Honest(q)
	}
	onTestNet(t, func(n *testNet) {
		r := n.ask("www.example.com")
		n.wantAddr(r, exchangetest.TrueAddr)
		if len(r.Steps) != 1 || !strings.Contains(r.Steps[0].Err.Error(), "SERVFAIL") {
			t.Errorf("steps %v", r.Steps)
		}
	}, s)
}

// The timer of an attempt ends with it.
func TestAttemptTimer(t *testing.T) {
	s := &exchangetest.Server{}
	s.UDP = func(q []byte) []exchangetest.Message {
		if s.Queries[0] == 1 {
			time.Sleep(3 * time.Second)
			return []exchangetest.Message{exchangetest.AnswerTo(q).Rcode(2)}
		}
		time.Sleep(4 * time.Second)
		return exchangetest.Honest(q)
	}
	onTestNet(t, func(n *testNet) {
		if r := n.ask("www.example.com"); len(r.Steps) != 1 {
			t.Errorf("steps %v", r.Steps)
		}
	}, s)
}

// A server that does not run refuses at once (ICMP): no timeout passes.
func TestRefused(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		n.policy.Servers = []netip.AddrPort{netip.AddrPortFrom(s.Addr.Addr(), 54), s.Addr}
		began := time.Now()
		r := n.ask("www.example.com")
		n.wantAddr(r, exchangetest.TrueAddr)
		if took := time.Since(began); took > time.Second || len(r.Steps) != 1 || !errors.Is(r.Steps[0].Err, syscall.ECONNREFUSED) {
			t.Errorf("took %v, steps %v", took, r.Steps)
		}
	}, s)
}

// The error of a step names the system call that has failed, once, and no address: the step has that.
func TestRefusedText(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		n.policy.Servers = []netip.AddrPort{netip.AddrPortFrom(s.Addr.Addr(), 54)}
		for _, n.policy.TCP = range []bool{false, true} {
			r := n.ask("www.example.com")
			call, rest, _ := strings.Cut(r.Err.Error(), ": ")
			if rest != syscall.ECONNREFUSED.Error() || strings.Contains(call, " ") {
				t.Errorf("over TCP %t: %q, want a system call, and %v", n.policy.TCP, r.Err, syscall.ECONNREFUSED)
			}
		}
	}, s)
}

// With rotate, lookups begin at different servers.
func TestRotate(t *testing.T) {
	a, b := &exchangetest.Server{UDP: exchangetest.Honest}, &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		n.policy.Rotate = true
		for range 4 {
			n.ask("www.example.com")
		}
		if a.Queries[0] != 2 || b.Queries[0] != 2 {
			t.Errorf("%d and %d queries, want 2 and 2", a.Queries[0], b.Queries[0])
		}
	}, a, b)
}
