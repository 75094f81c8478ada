package dnsconf

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
)

func wireNames(t testing.TB, texts ...string) (names []dnswire.Name) {
	t.Helper()
	for _, text := range texts {
		n, err := dnswire.ParseName(text)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, n)
	}
	return names
}

func servers(addrs ...string) (list []netip.AddrPort) {
	for _, addr := range addrs {
		list = append(list, netip.AddrPortFrom(netip.MustParseAddr(addr), 53))
	}
	return list
}

// defaults is what an empty file means.
func defaults(change func(r *Resolv)) *Resolv {
	r := &Resolv{Servers: servers("127.0.0.1", "::1"), Ndots: 1, Timeout: 5 * time.Second, Attempts: 2}
	if change != nil {
		change(r)
	}
	return r
}

// checkWarnings compares the lines and kinds of warnings, as in "3:invalid".
func checkWarnings(t *testing.T, got []Warning, want ...string) {
	t.Helper()
	var have []string
	for i := range got {
		have = append(have, fmt.Sprintf("%d:%v", got[i].Line, got[i].Kind))
		for _, c := range []byte(got[i].Error()) {
			if c < ' ' || c == 0x7f {
				t.Errorf("a warning is not printable: %q", got[i].Error())
			}
		}
	}
	if !slices.Equal(have, want) {
		t.Errorf("warnings %v, want %v", got, want)
	}
}

func TestParseResolv(t *testing.T) {
	for _, c := range []struct {
		data     string
		want     *Resolv
		warnings []string
	}{
		{"", defaults(nil), nil},
		{"# comment\n; comment\n\n   # comment\n", defaults(nil), nil},
		{
			"nameserver 192.0.2.1\nnameserver\t2001:db8::1 # text after the value\nnameserver fe80::1%eth0\n",
			defaults(func(r *Resolv) { r.Servers = servers("192.0.2.1", "2001:db8::1", "fe80::1%eth0") }), nil,
		},
		{"nameserver ::ffff:192.0.2.1", defaults(func(r *Resolv) { r.Servers = servers("192.0.2.1") }), nil},
		{
			"nameserver 192.0.2.1\r\nsearch a.example b.example\r\n",
			defaults(func(r *Resolv) {
				r.Servers, r.Search = servers("192.0.2.1"), wireNames(t, "a.example", "b.example")
			}), nil,
		},
		{
			"nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n",
			defaults(func(r *Resolv) { r.Servers = servers("192.0.2.1", "192.0.2.2", "192.0.2.3") }),
			[]string{"4:over a limit"},
		},
		{
			"nameserver\nnameserver ns.example\nnameserver 192.0.2.256\nnameserver 192.0.2.1:53\n  nameserver 192.0.2.1\n",
			defaults(func(r *Resolv) { r.Servers = servers("192.0.2.1") }),
			[]string{"1:invalid", "2:invalid", "3:invalid", "4:invalid", "5:not portable"},
		},
		{"search a.example\ndomain b.example c.example\n", defaults(func(r *Resolv) { r.Search = wireNames(t, "b.example") }), nil},
		{"domain b.example\nsearch a.example. C.example\n", defaults(func(r *Resolv) { r.Search = wireNames(t, "a.example", "C.example") }), nil},
		{"search .\n", defaults(nil), nil},
		{
			"search a..b . c.example " + strings.Repeat("x", 64) + "\n", defaults(func(r *Resolv) { r.Search = wireNames(t, "c.example") }),
			[]string{"1:invalid", "1:invalid"},
		},
		{"search " + strings.Repeat("a ", MaxSearch) + "b c\n", defaults(func(r *Resolv) {
			r.Search = slices.Repeat(wireNames(t, "a"), MaxSearch)
		}), []string{"1:over a limit"}},
		{"options ndots:3 timeout:7 attempts:4 rotate use-vc edns0\n", defaults(func(r *Resolv) {
			r.Ndots, r.Timeout, r.Attempts, r.Rotate, r.UseTCP, r.EDNS0 = 3, 7*time.Second, 4, true, true, true
		}), nil},
		{"options single-request single-request-reopen no-reload\noptions trust-ad no-tld-query no-aaaa\n", defaults(func(r *Resolv) {
			r.SingleRequest, r.SingleRequestReopen, r.NoReload, r.TrustAD, r.NoTLDQuery, r.NoAAAA = true, true, true, true, true, true
		}), nil},
		{"options usevc\n", defaults(func(r *Resolv) { r.UseTCP = true }), nil},
		{"options tcp\n", defaults(func(r *Resolv) { r.UseTCP = true }), nil},
		{"options debug no-check-names ip6-bytestring ip6-dotint no-ip6-dotint\n", defaults(nil), nil},
		{"options\n", defaults(nil), nil},
		{"options ndots:0\n", defaults(func(r *Resolv) { r.Ndots = 0 }), nil},
		{
			"options ndots:16 timeout:31 attempts:6\n", defaults(func(r *Resolv) { r.Ndots, r.Timeout, r.Attempts = 15, 30*time.Second, 5 }),
			[]string{"1:over a limit", "1:over a limit", "1:over a limit"},
		},
		{
			"options ndots:-1 timeout:0 attempts:-9\n", defaults(func(r *Resolv) { r.Ndots, r.Timeout, r.Attempts = 0, time.Second, 1 }),
			[]string{"1:over a limit", "1:over a limit", "1:over a limit"},
		},
		{"options ndots:99999999999999999999999\n", defaults(func(r *Resolv) { r.Ndots = 15 }), []string{"1:over a limit"}},
		{"options ndots:9223372036854775808\n", defaults(func(r *Resolv) { r.Ndots = 15 }), []string{"1:over a limit"}}, // 1<<63
		{"options ndots: timeout:x attempts:-\n", defaults(nil), []string{"1:invalid", "1:invalid", "1:invalid"}},
		{"options ndots:2x\n", defaults(func(r *Resolv) { r.Ndots = 2 }), nil},
		{"lookup file bind\n", defaults(func(r *Resolv) { r.Lookup = []string{"file", "bind"} }), nil},
		{"sortlist 130.155.160.0/255.255.240.0\noptions inet6 foo bar:3 foo\nfamily inet4\n\x1b[2J x\n", defaults(func(r *Resolv) {
			r.Unsupported = []string{`"sortlist"`, `"inet6"`, `"foo"`, `"bar:3"`, `"family"`, `"\x1b[2J"`}
		}), []string{"1:unsupported", "2:unsupported", "2:unknown", "2:unknown", "2:unknown", "3:unknown", "4:unknown"}},
	} {
		got, warned := ParseResolv(c.data, Environment{})
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%.80q:\n got %+v\nwant %+v", c.data, got, c.want)
		}
		checkWarnings(t, warned, c.warnings...)
	}
}

func TestParseResolvEnvironment(t *testing.T) {
	for _, c := range []struct {
		data string
		env  Environment
		want *Resolv
	}{
		{"", Environment{Hostname: "host.a.example"}, defaults(func(r *Resolv) { r.Search = wireNames(t, "a.example") })},
		{"", Environment{Hostname: "host"}, defaults(nil)},
		{"", Environment{Hostname: "host."}, defaults(nil)},
		{"search b.example\n", Environment{Hostname: "host.a.example"}, defaults(func(r *Resolv) { r.Search = wireNames(t, "b.example") })},
		{"search .\n", Environment{Hostname: "host.a.example"}, defaults(nil)},
		{"search b.example\n", Environment{LocalDomain: " c.example\td.example ", HasLocalDomain: true}, defaults(func(r *Resolv) {
			r.Search = wireNames(t, "c.example", "d.example")
		})},
		{"search b.example\n", Environment{HasLocalDomain: true, Hostname: "host.a.example"}, defaults(nil)},
		{"options ndots:3 rotate\n", Environment{ResOptions: "ndots:5 use-vc"}, defaults(func(r *Resolv) {
			r.Ndots, r.Rotate, r.UseTCP = 5, true, true
		})},
	} {
		got, warned := ParseResolv(c.data, c.env)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q, %+v:\n got %+v\nwant %+v", c.data, c.env, got, c.want)
		}
		checkWarnings(t, warned)
	}
	_, warned := ParseResolv("", Environment{ResOptions: "foo", LocalDomain: "a..b", HasLocalDomain: true, Hostname: "x.."})
	if len(warned) != 2 || warned[0].File != "LOCALDOMAIN" || warned[1].File != "RES_OPTIONS" {
		t.Errorf("warnings about the environment: %v", warned)
	}
}

// Garbage of any length costs a bounded number of warnings, each of a bounded length.
func TestWarningsAreBounded(t *testing.T) {
	garbage := strings.Repeat(strings.Repeat("\xff", 2000)+"\n", 100)
	for what, parse := range map[string]func(string) []Warning{
		"resolv.conf":   func(s string) []Warning { _, w := ParseResolv(s, Environment{}); return w },
		"nsswitch.conf": func(s string) []Warning { _, w := ParseNSSwitch(s); return w },
		"hosts":         func(s string) []Warning { _, w := ParseHosts(s); return w },
	} {
		list := parse(garbage[:64<<10])
		if len(list) > maxWarnings || len(list) < maxWarnings-1 {
			t.Errorf("%s: %d warnings, want at most %d", what, len(list), maxWarnings)
		}
		for i := range list {
			if len(list[i].Text) > 8*maxQuotedBytes {
				t.Errorf("%s: a warning of %d bytes", what, len(list[i].Text))
			}
		}
	}
	list := func() []Warning { _, w := ParseHosts(garbage); return w }()
	if last := list[len(list)-1]; last.Text != fmt.Sprintf("%d more warnings are left out", 100-(maxWarnings-1)) {
		t.Errorf("the last of %d warnings: %v", len(list), last)
	}
}

func TestUnsupportedIsBounded(t *testing.T) {
	var b strings.Builder
	for i := range 10 * maxWarnings {
		fmt.Fprintf(&b, "options foo%d\n", i)
	}
	if r, _ := ParseResolv(b.String(), Environment{}); len(r.Unsupported) != maxWarnings {
		t.Errorf("%d unsupported options are listed, want %d", len(r.Unsupported), maxWarnings)
	}
}

func TestZones(t *testing.T) {
	for zone, want := range map[string]bool{
		"eth0": true, "3": true, strings.Repeat("z", maxZoneBytes): true,
		strings.Repeat("z", maxZoneBytes+1): false, "\x1b[2J": false, "\xff": false, "": false, "a b": false, "\x7f": false,
	} {
		if addr, ok := parseAddr("fe80::1%" + zone); ok != want || ok && addr.Zone() != zone {
			t.Errorf("zone %q: %v, %v", zone, addr, ok)
		}
	}
}

// Of a file that is too long, the lines within the limit are taken, and not half of a line.
func TestLongFiles(t *testing.T) {
	head := "nameserver 192.0.2.1\n"
	data := head + strings.Repeat("#", MaxResolvSize-len(head)-len("\nnameserver 192.0.2.2")+1) + "\nnameserver 192.0.2.22\n"
	r, warned := ParseResolv(data, Environment{})
	if want := servers("192.0.2.1"); !slices.Equal(r.Servers, want) {
		t.Errorf("servers %v, want %v: the last line is cut", r.Servers, want)
	}
	checkWarnings(t, warned, "0:over a limit")
	long := "192.0.2.1" + strings.Repeat(" x", 1) + " " + strings.Repeat("#", 1<<20) + "\n192.0.2.2 y"
	h, warned := ParseHosts(long)
	if _, _, ok := h.Lookup("y"); !ok || h.Len() != 2 {
		t.Error("the line after a line of a megabyte is lost")
	}
	checkWarnings(t, warned)
}

// The order of names is that of resolv.conf(5) and of Go's resolver.
func TestNames(t *testing.T) {
	longLabels := strings.Repeat(strings.Repeat("a", 61)+".", 4) // 248 octets in wire format, and the root
	for _, c := range []struct {
		conf, name string
		want       []string
	}{
		{"search a b", "x", []string{"x.a", "x.b", "x"}},
		{"search a b", "x.", []string{"x"}},
		{"search a b", "x.y", []string{"x.y", "x.y.a", "x.y.b"}},
		{"search a b\noptions ndots:2", "x.y", []string{"x.y.a", "x.y.b", "x.y"}},
		{"search a b\noptions ndots:0", "x", []string{"x", "x.a", "x.b"}},
		{"search a\noptions no-tld-query", "x", []string{"x.a"}},
		{"search a\noptions no-tld-query", "x.y", []string{"x.y", "x.y.a"}},
		{"search a\noptions no-tld-query", "x.", []string{"x"}},
		{"", "x", []string{"x"}},
		{"search a", `x\.y`, []string{`x\.y.a`, `x\.y`}}, // an escaped dot is a part of the label
		{"search a", `x\.`, []string{`x\..a`, `x\.`}},
		{"search a", `x\\.`, []string{`x\\.`}},
		{"search a", ".", []string{"."}},
		{"search a\noptions ndots:15", "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15", []string{"1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.a", "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15"}},
		{"search a too-long", longLabels[:len(longLabels)-1], []string{longLabels, longLabels + "a"}},
		{"search a onion", "x", []string{"x.a", "x"}},
		{"search a", "x.onion", nil},
		{"search a", "ONION.", nil},
		{"search a", "notonion", []string{"notonion.a", "notonion"}},
	} {
		r, _ := ParseResolv(c.conf, Environment{})
		got, err := r.Names(c.name)
		if want := wireNames(t, c.want...); !slices.Equal(got, want) || err != nil {
			t.Errorf("%q: names for %q: %q, %v; want %q", c.conf, c.name, got, err, want)
		}
	}
	r := defaults(nil)
	for _, bad := range []string{"", "a..b", strings.Repeat("a", 64), `\`} {
		var ne *dnswire.NameError
		if got, err := r.Names(bad); got != nil || !errors.As(err, &ne) {
			t.Errorf("names for %.70q: %q, %v; want a *dnswire.NameError", bad, got, err)
		}
	}
}
