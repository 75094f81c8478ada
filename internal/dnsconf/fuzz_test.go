package dnsconf

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
)

// checkFuzzedWarnings checks the bounds of warnings, and that they are safe to display.
func checkFuzzedWarnings(t *testing.T, data string, list []Warning) {
	t.Helper()
	lines := strings.Count(data, "\n") + 1
	for i := range list {
		w := &list[i]
		if w.Line < 0 || w.Line > lines || w.Text == "" || len(w.Text) > 2000 {
			t.Fatalf("warning %+v about %d lines", w, lines)
		}
		for _, r := range w.Error() {
			if r < ' ' || r == 0x7f || r == 0xfffd {
				t.Fatalf("warning %q is not printable", w.Error())
			}
		}
	}
	if len(list) > maxWarnings {
		t.Fatalf("%d warnings", len(list))
	}
}

// format returns a resolv.conf that means r.
func format(r *Resolv) string {
	var b strings.Builder
	for _, s := range r.Servers {
		fmt.Fprintf(&b, "nameserver %v\n", s.Addr())
	}
	b.WriteString("search .")
	for _, n := range r.Search {
		b.WriteString(" " + n.String())
	}
	fmt.Fprintf(&b, "\noptions ndots:%d timeout:%d attempts:%d", r.Ndots, r.Timeout/time.Second, r.Attempts)
	for name, on := range map[string]bool{
		"rotate": r.Rotate, "use-vc": r.UseTCP, "edns0": r.EDNS0, "single-request": r.SingleRequest, "single-request-reopen": r.SingleRequestReopen,
		"no-reload": r.NoReload, "trust-ad": r.TrustAD, "no-tld-query": r.NoTLDQuery, "no-aaaa": r.NoAAAA,
	} {
		if on {
			b.WriteString(" " + name)
		}
	}
	if len(r.Lookup) > 0 {
		b.WriteString("\nlookup " + strings.Join(r.Lookup, " "))
	}
	return b.String()
}

// What is taken of any file is within the limits, and means the same when it is written as a valid file.
func FuzzParseResolv(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nnameserver fe80::1%eth0\nsearch a.example b.example\noptions ndots:5 timeout:2 attempts:3 rotate\n", "ndots:2", "www.example")
	f.Add("domain x\r\nsortlist 1.2.3.4\noptions use-vc edns0 single-request no-reload trust-ad inet6 no-aaaa\nlookup file bind\n", "", "x.")
	f.Add(" nameserver ::1\n;\n#\noptions ndots:-1 timeout:999999999999 attempts: foo:1\nsearch . a..b\n", "rotate foo", `a\.`)
	f.Fuzz(func(t *testing.T, data, options, name string) {
		r, warned := ParseResolv(data, Environment{ResOptions: options})
		checkFuzzedWarnings(t, data, warned)
		if len(r.Servers) == 0 || len(r.Servers) > MaxServers || len(r.Search) > MaxSearch || r.Ndots < 0 || r.Ndots > MaxNdots ||
			r.Timeout < time.Second || r.Timeout > MaxTimeout || r.Attempts < 1 || r.Attempts > MaxAttempts || len(r.Unsupported) > maxWarnings {
			t.Fatalf("out of limits: %+v", r)
		}
		again, warned := ParseResolv(format(r), Environment{})
		again.Unsupported = r.Unsupported
		if !reflect.DeepEqual(again, r) || len(warned) > 0 {
			t.Fatalf("%q\nmeans %+v, but\n%q\nmeans %+v, with warnings %v", data, r, format(r), again, warned)
		}
		checkNames(t, r, name)
	})
}

func checkNames(t *testing.T, r *Resolv, text string) {
	t.Helper()
	names, err := r.Names(text)
	own, ownErr := dnswire.ParseName(text)
	if (err == nil) != (ownErr == nil) || err != nil && names != nil || len(names) > len(r.Search)+1 {
		t.Fatalf("names for %q: %q, %v; as a name: %v", text, names, err, ownErr)
	}
	for _, n := range names {
		if back, err := dnswire.ParseName(n.String()); err != nil || back != n || !strings.HasPrefix(string(n), string(own[:len(own)-1])) {
			t.Fatalf("names for %q: %q, %v", text, n, err)
		}
	}
	if own == "" || own.Under(onion) {
		return
	}
	if rooted := isRooted(text); rooted && !slices.Equal(names, []dnswire.Name{own}) || !rooted && !r.NoTLDQuery && !slices.Contains(names, own) {
		t.Fatalf("names for %q: %q, which lacks the name itself", text, names)
	}
}

func FuzzParseNSSwitch(f *testing.F) {
	f.Add("passwd: files\nhosts: files mdns4_minimal [NOTFOUND=return] dns myhostname # x\n")
	f.Add("hosts: resolve [!UNAVAIL=return success=merge] files\nhosts: [a=b] dns[tryagain=continue]x\n")
	f.Add("hosts: a [\nhosts\n:\n")
	f.Fuzz(func(t *testing.T, data string) {
		n, warned := ParseNSSwitch(data)
		checkFuzzedWarnings(t, data, warned)
		if len(n.Hosts) == 0 || len(n.Hosts) > MaxServices {
			t.Fatalf("%d services", len(n.Hosts))
		}
		var b strings.Builder
		b.WriteString("hosts:")
		for i := range n.Hosts {
			b.WriteString(" " + n.Hosts[i].Name + " [")
			for name, status := range statusByName {
				for result, action := range actionByName {
					if n.Hosts[i].On[status] == action {
						b.WriteString(" " + name + "=" + result)
					}
				}
			}
			b.WriteString(" ]")
		}
		if again, warned := ParseNSSwitch(b.String()); !reflect.DeepEqual(again.Hosts, n.Hosts) || len(warned) > 0 {
			t.Fatalf("%q\nmeans %+v, but\n%q\nmeans %+v, with warnings %v", data, n, b.String(), again, warned)
		}
	})
}

func FuzzParseHosts(f *testing.F) {
	f.Add(hostsFile)
	f.Add("192.0.2.1\n. .\n::1%x a A a. b#c\nfe80::1%25 z\n1.2.3.4\ta\\.b \xff")
	f.Fuzz(func(t *testing.T, data string) {
		h, warned := ParseHosts(data)
		checkFuzzedWarnings(t, data, warned)
		// A line for each pair has the same meaning, but for the canonical names.
		var b strings.Builder
		pairs := 0
		for name, e := range h.byName {
			addrs, canonical, ok := h.Lookup(upper(name) + ".")
			if !ok || canonical != e.canonical || len(addrs) == 0 || len(addrs) > MaxHostAddrs {
				t.Fatalf("Lookup of %q: %v, %q, %v", name, addrs, canonical, ok)
			}
			if _, _, ok := h.Lookup(canonical); !ok {
				t.Fatalf("%q, the canonical name of %q, has no address", canonical, name)
			}
			for _, addr := range addrs {
				pairs++
				fmt.Fprintf(&b, "%v %s\n", addr, name)
			}
		}
		names := 0
		for addr, list := range h.byAddr {
			names += len(list)
			for _, name := range list {
				if found, _, _ := h.Lookup(name); !slices.Contains(found, addr) {
					t.Fatalf("%v has the name %q, but that has the addresses %v", addr, name, found)
				}
			}
		}
		if names > pairs {
			t.Fatalf("%d names of addresses, but %d addresses of names", names, pairs)
		}
		again, warned := ParseHosts(b.String())
		if len(warned) > 0 || !reflect.DeepEqual(addrsOf(again), addrsOf(h)) {
			t.Fatalf("%q\nmeans %v, but\n%q\nmeans %v, with warnings %v", data, h, b.String(), again, warned)
		}
	})
}

func addrsOf(h *Hosts) map[string][]netip.Addr {
	m := map[string][]netip.Addr{}
	for name, e := range h.byName {
		m[name] = e.addrs
	}
	return m
}

// upper is s in upper case; only ASCII letters have case.
func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}
