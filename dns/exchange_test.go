package dns

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A silent server costs an attempt; the next one is asked.
func TestSilence(t *testing.T) {
	silent, s := &testServer{udp: silent}, &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		began := time.Now()
		r := n.ask("www.example.com")
		n.wantAddr(r, trueAddr)
		if took := time.Since(began); took < 5*time.Second || took > 5*time.Second+10*time.Millisecond {
			t.Errorf("took %v, want one timeout", took)
		}
		if len(r.steps) != 1 || r.steps[0].Server != silent.addr || !errors.Is(r.steps[0].Err, os.ErrDeadlineExceeded) || r.server != s.addr {
			t.Errorf("steps %v, server %v", r.steps, r.server)
		}
	}, silent, s)
}

// All servers are asked as often as the policy permits, and then the query ends.
func TestAllSilent(t *testing.T) {
	a, b := &testServer{udp: silent}, &testServer{udp: silent}
	onTestNet(t, func(n *testNet) {
		began := time.Now()
		r := n.ask("www.example.com")
		if !errors.Is(r.err, os.ErrDeadlineExceeded) || len(r.steps) != 4 || a.queries[0] != 2 || b.queries[0] != 2 {
			t.Errorf("%v, steps %v, %d and %d queries", r.err, r.steps, a.queries[0], b.queries[0])
		}
		if took := time.Since(began); took < 20*time.Second {
			t.Errorf("took %v, want 4 attempts of 5 s", took)
		}
	}, a, b)
}

func TestServerFailureOnce(t *testing.T) {
	s := &testServer{}
	s.udp = func(q []byte) []answer {
		if s.queries[0] == 1 {
			return []answer{answerTo(q).rcode(2)}
		}
		return honest(q)
	}
	onTestNet(t, func(n *testNet) {
		r := n.ask("www.example.com")
		n.wantAddr(r, trueAddr)
		if len(r.steps) != 1 || !strings.Contains(r.steps[0].Err.Error(), "SERVFAIL") {
			t.Errorf("steps %v", r.steps)
		}
	}, s)
}

// The timer of an attempt ends with it.
func TestAttemptTimer(t *testing.T) {
	s := &testServer{}
	s.udp = func(q []byte) []answer {
		if s.queries[0] == 1 {
			time.Sleep(3 * time.Second)
			return []answer{answerTo(q).rcode(2)}
		}
		time.Sleep(4 * time.Second)
		return honest(q)
	}
	onTestNet(t, func(n *testNet) {
		if r := n.ask("www.example.com"); len(r.steps) != 1 {
			t.Errorf("steps %v", r.steps)
		}
	}, s)
}

// A server that does not run refuses at once (ICMP): no timeout passes.
func TestRefused(t *testing.T) {
	s := &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		n.policy.servers = []netip.AddrPort{netip.AddrPortFrom(s.addr.Addr(), 54), s.addr}
		began := time.Now()
		r := n.ask("www.example.com")
		n.wantAddr(r, trueAddr)
		if took := time.Since(began); took > time.Second || len(r.steps) != 1 || !errors.Is(r.steps[0].Err, syscall.ECONNREFUSED) {
			t.Errorf("took %v, steps %v", took, r.steps)
		}
	}, s)
}

// With rotate, lookups begin at different servers.
func TestRotate(t *testing.T) {
	a, b := &testServer{udp: honest}, &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		n.policy.rotate = true
		for range 4 {
			n.ask("www.example.com")
		}
		if a.queries[0] != 2 || b.queries[0] != 2 {
			t.Errorf("%d and %d queries, want 2 and 2", a.queries[0], b.queries[0])
		}
	}, a, b)
}
