package dnstest

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/testkit"
)

// startPair starts two servers that have the same names.
func startPair(t *testing.T) (first, second *daemon) {
	t.Helper()
	for _, program := range []string{"nsd", "unbound"} {
		path(t, program)
	}
	authority := startDaemon(t, nsd(t))
	return startDaemon(t, unbound(t, authority.addr)), startDaemon(t, unbound(t, authority.addr))
}

// wantFrom looks up a name, whose answer must come from a server, after a step with an error that wraps failed unless that is nil.
func wantFrom(t *testing.T, r *dns.Resolver, d *daemon, failed error) {
	t.Helper()
	a, err := r.LookupType(t.Context(), "v4.example.", dns.TypeA)
	switch {
	case err != nil || len(a.Addrs) != 1 || a.Addrs[0].String() != "192.0.2.1":
		t.Errorf("%+v, %v", a, err)
	case a.Path != evented(d, "udp"):
		t.Errorf("the path is %q, want %q; steps %v", a.Path, evented(d, "udp"), a.Steps)
	case failed == nil && len(a.Steps) > 0, failed != nil && (len(a.Steps) == 0 || !errors.Is(a.Steps[0].Err, failed)):
		t.Errorf("the steps are %v, want %v", a.Steps, failed)
	}
}

// A server that does not respond costs one timeout, and the next one is asked; one that goes on is asked as before.
func TestFrozenServer(t *testing.T) {
	testkit.CheckLeaks(t)
	const timeout = 100 * time.Millisecond
	first, second := startPair(t)
	// A new resolver knows nothing of the failures before it. A busy machine makes the second server late, too: but
	// not every time.
	fresh := func() *dns.Resolver {
		return newResolver(t, dns.Config{CacheEntries: -1, Timeout: timeout, Attempts: 100}, first.addr, second.addr)
	}
	wantFrom(t, newResolver(t, dns.Config{CacheEntries: -1}, first.addr, second.addr), first, nil)
	first.signal(syscall.SIGSTOP)
	wantFrom(t, fresh(), second, os.ErrDeadlineExceeded)
	first.signal(syscall.SIGCONT)
	wantFrom(t, newResolver(t, dns.Config{CacheEntries: -1}, first.addr, second.addr), first, nil)
}

// When no server responds, a lookup takes each attempt's timeout, and fails with a timeout.
func TestAllServersFrozen(t *testing.T) {
	testkit.CheckLeaks(t)
	const timeout, attempts, servers = 100 * time.Millisecond, 3, 2
	first, second := startPair(t)
	first.signal(syscall.SIGSTOP)
	second.signal(syscall.SIGSTOP)
	r := newResolver(t, dns.Config{CacheEntries: -1, Timeout: timeout, Attempts: attempts}, first.addr, second.addr)
	start := time.Now()
	_, err := r.LookupType(t.Context(), "v4.example.", dns.TypeA)
	took := time.Since(start)
	e, ok := errors.AsType[*dns.Error](err)
	if !ok || !e.Timeout() || len(e.Steps) != servers*attempts {
		t.Fatalf("%v; want a timeout after %d attempts", err, servers*attempts)
	}
	if took < timeout*servers*attempts {
		t.Errorf("it took %v; want %v at least", took, timeout*servers*attempts)
	}
	for i, step := range e.Steps {
		if want := []*daemon{first, second}[i%servers]; step.Server != want.addr || step.TCP {
			t.Errorf("step %d: %v, want UDP to %v", i, step, want.addr)
		}
	}
}

// A server that has ended costs no time: its machine refuses. When it runs again, it is asked again.
func TestKilledServer(t *testing.T) {
	testkit.CheckLeaks(t)
	first, second := startPair(t)
	fresh := func() *dns.Resolver { return newResolver(t, dns.Config{CacheEntries: -1}, first.addr, second.addr) }
	kept := fresh()
	wantFrom(t, kept, first, nil)
	first.kill()
	wantFrom(t, kept, second, syscall.ECONNREFUSED)
	second.kill()
	start := time.Now()
	if a, err := fresh().LookupType(t.Context(), "v4.example.", dns.TypeA); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%+v, %v; want ECONNREFUSED", a, err)
	}
	if took := time.Since(start); took > testkit.Watchdog/2 {
		t.Errorf("refusals took %v, like timeouts", took)
	}
	if err := first.start(t); err != nil {
		t.Fatal(err)
	}
	wantFrom(t, fresh(), first, nil)
	if a, err := kept.LookupType(t.Context(), "v6.example.", dns.TypeAAAA); err != nil || a.Path != evented(first, "udp") {
		t.Errorf("%+v, %v; want an answer of the server that runs again", a, err)
	}
}

// An authoritative server that refers to others is no answer: the next server is asked.
func TestReferralIsNoAnswer(t *testing.T) {
	testkit.CheckLeaks(t)
	s := startServers(t)
	r := newResolver(t, dns.Config{}, s.nsd.addr, s.unbound.addr)
	a, err := r.LookupType(t.Context(), "www.elsewhere.example.", dns.TypeA)
	if err != nil || a.Path != evented(s.unbound, "udp") || a.Addrs[0].String() != "192.0.2.100" ||
		len(a.Steps) != 1 || !strings.Contains(a.Steps[0].Err.Error(), "referral") {
		t.Errorf("%+v, %v; want unbound's answer after NSD's referral", a, err)
	}
}

// What a server cannot or will not answer is an error with its code, and not a name that does not exist.
func TestErrorCodes(t *testing.T) {
	testkit.CheckLeaks(t)
	s := startServers(t)
	for name, d := range map[string]*daemon{"nsd": s.nsd, "unbound": s.unbound, "dnsmasq": s.dnsmasq} {
		for host, want := range map[string]struct {
			code      string
			temporary bool
		}{"www.broken.example.": {"SERVFAIL", true}, "www.refused.example.": {"REFUSED", false}, "loop1.example.": {"SERVFAIL", true}} {
			switch {
			case d == s.nsd && host == "loop1.example.": // it returns the loop, and no error
				want.code, want.temporary = "loop of CNAME", false
			case d == s.nsd && host == "www.refused.example.": // only unbound has it
				continue
			}
			t.Run(name+" "+host, func(t *testing.T) {
				r := newResolver(t, dns.Config{Attempts: 1, Timeout: testkit.Watchdog}, d.addr)
				a, err := r.LookupType(t.Context(), host, dns.TypeA)
				e, ok := errors.AsType[*dns.Error](err)
				if !ok || errors.Is(err, dns.ErrNotFound) || e.Timeout() || e.Temporary() != want.temporary || !strings.Contains(err.Error(), want.code) {
					t.Errorf("%+v, %v; want %s", a, err, want.code)
				}
			})
		}
	}
}
