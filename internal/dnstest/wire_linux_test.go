package dnstest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/testkit"
)

// Every server repeats the random case of a query, takes EDNS, and has its own: so no query is asked twice.
func TestEveryServerKeepsCaseAndEDNS(t *testing.T) {
	testkit.CheckLeaks(t)
	s := startServers(t)
	for name, d := range map[string]*daemon{"nsd": s.nsd, "unbound": s.unbound, "dnsmasq": s.dnsmasq} {
		t.Run(name, func(t *testing.T) {
			const lookups = 20 // the chance that all have the case of the name is that of 320 coins
			p := startTap(t, d.addr)
			r := newResolver(t, dns.Config{CacheEntries: -1}, p.addr)
			for range lookups {
				if a, err := r.LookupType(t.Context(), "target.b.c.d.wild.example.", dns.TypeA); err != nil || len(a.Steps) > 0 {
					t.Fatalf("%+v, %v", a, err)
				}
			}
			queries, responses := p.noted()
			if len(queries) != lookups || len(responses) != lookups {
				t.Fatalf("%d queries and %d responses for %d lookups", len(queries), len(responses), lookups)
			}
			changed := 0
			for i, q := range queries {
				if asked := questionName(q); asked != questionName(responses[i]) {
					t.Errorf("%q is answered as %q", asked, questionName(responses[i]))
				} else if asked != strings.ToLower(asked) {
					changed++
				}
				r, err := dnswire.Parse(responses[i], dnswire.Question{Name: dnswire.Name(questionName(q)), Type: dnswire.TypeA})
				if err != nil || !r.EDNS || !hasEDNS(q) {
					t.Errorf("EDNS in the query: %t, in the response: %t (%v)", hasEDNS(q), r.EDNS, err)
				}
			}
			if changed == 0 {
				t.Error("no query has another case than the name")
			}
		})
	}
}

// A name that does not exist is not asked for again until the TTL of its SOA record ends, and then it is.
func TestNegativeAnswersLiveAsLongAsTheirSOA(t *testing.T) {
	testkit.CheckLeaks(t)
	for _, program := range []string{"nsd", "unbound"} {
		path(t, program)
	}
	authority := startDaemon(t, nsd(t))
	for name, d := range map[string]*daemon{"nsd": authority, "unbound": startDaemon(t, unbound(t, authority.addr))} {
		t.Run(name, func(t *testing.T) {
			p := startTap(t, d.addr)
			r := newResolver(t, dns.Config{}, p.addr)
			lookup := func(name string, typ dns.Type, want error) {
				t.Helper()
				if a, err := r.LookupType(t.Context(), name, typ); !errors.Is(err, want) {
					t.Fatalf("%s %v: %+v, %v; want %v", name, typ, a, err, want)
				}
			}
			for range 3 { // of example., whose TTL is a minute
				lookup("nosuch.example.", dns.TypeA, dns.ErrNoName)
				lookup("v4.example.", dns.TypeAAAA, dns.ErrNoData)
			}
			if n := p.count(); n != 2 {
				t.Errorf("%d queries for two names, want 2", n)
			}
			const ttl = time.Second // of brief.
			before, start := p.count(), time.Now()
			lookup("nosuch.brief.", dns.TypeA, dns.ErrNoName)
			if !testkit.Eventually(func() bool {
				lookup("nosuch.brief.", dns.TypeA, dns.ErrNoName)
				return p.count() > before+1
			}) {
				t.Error("a negative answer outlives its TTL")
			}
			// unbound counts its TTLs in whole seconds, from when it had the answer.
			if took := time.Since(start); name == "nsd" && took < ttl {
				t.Errorf("asked again after %v, want %v at least", took, ttl)
			}
		})
	}
}
