package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/nameserver"
	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/testkit"
)

// testZone is the content of the test's name server.
func testZone(name string, t dns.Type) nameserver.Reply {
	records := func(rs ...nameserver.Record) nameserver.Reply {
		var list []nameserver.Record
		for _, r := range rs {
			if r.Type == t || r.Type == dns.TypeCNAME {
				list = append(list, r)
			}
		}
		return nameserver.Reply{Records: list}
	}
	switch {
	case strings.HasPrefix(name, "n") && strings.HasSuffix(name, ".many."):
		return records(nameserver.Address(manyAddress(name), 60))
	case name == "both.test.":
		return records(nameserver.Address("192.0.2.7", 300), nameserver.Address("2001:db8::7", 200))
	case name == "cut.test.":
		r := records(nameserver.Address("192.0.2.8", 300))
		r.Cut = true
		return r
	case name == "alias.test.":
		a := nameserver.Address("192.0.2.9", 60)
		a.Owner = "real.test."
		return records(nameserver.Target(dns.TypeCNAME, 90, "real.test."), a)
	case name == "all.test.":
		return records(
			nameserver.Target(dns.TypeMX, 10, "mail.test.", 0, 5),
			nameserver.Target(dns.TypeNS, 11, "ns.test."),
			nameserver.Target(dns.TypeSRV, 12, "srv.test.", 0, 1, 0, 2, 0, 80),
			nameserver.Text(13, "a\x1b[31m\u0085\"b\\"),
			nameserver.Record{Type: dns.TypeSOA, TTL: 14, Data: make([]byte, 22)},
			nameserver.Record{Type: 65, TTL: 15, Data: []byte{1, 0xab}})
	case name == "1.2.0.192.in-addr.arpa.", strings.HasPrefix(name, "1.0.0.") && strings.HasSuffix(name, ".8.b.d.0.1.0.0.2.ip6.arpa."):
		return records(nameserver.Target(dns.TypePTR, 16, "host.test."))
	case name == "silent.test.":
		return nameserver.Reply{Silent: true}
	case name == "failing.test.":
		return nameserver.Reply{Rcode: nameserver.ServFail}
	}
	return nameserver.Reply{Rcode: nameserver.NXDomain}
}

// manyAddress is the address of "n", a number from 0 to 65535, and ".many.".
func manyAddress(name string) string {
	var n int
	fmt.Sscanf(name, "n%d.many.", &n)
	return netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}).String()
}

// resolveNames runs the command with a server that has testZone.
func resolveNames(t *testing.T, in string, args ...string) (status int, out, err, server string) {
	t.Helper()
	server = nameserver.Start(t, testZone).String()
	status, out, err = pollux(t, in, append([]string{"resolve", "--server", server}, args...)...)
	return status, strings.ReplaceAll(out, server, "SERVER"), strings.ReplaceAll(err, server, "SERVER"), server
}

// Each answer is a line: the name, the type, the TTL, the data as in zone files, and the path. What a server sends never
// reaches the terminal as control characters.
func TestResolveLines(t *testing.T) {
	testkit.CheckLeaks(t)
	const udp = "  (evented SERVER udp)\n"
	for args, want := range map[string]string{
		"both.test.":               "both.test.        A          200  192.0.2.7" + udp + "both.test.        AAAA       200  2001:db8::7" + udp,
		"--type a both.test.":      "both.test.        A          300  192.0.2.7" + udp,
		"--type AAAA both.test.":   "both.test.        AAAA       200  2001:db8::7" + udp,
		"--type A cut.test.":       "cut.test.         A          300  192.0.2.8  (evented SERVER tcp)\n",
		"--type A alias.test.":     "alias.test.       A           60  192.0.2.9" + udp,
		"--type cname alias.test.": "alias.test.       CNAME       90  real.test." + udp,
		"--type MX all.test.":      "all.test.         MX          10  5 mail.test." + udp,
		"--type NS all.test.":      "all.test.         NS          11  ns.test." + udp,
		"--type SRV all.test.":     "all.test.         SRV         12  1 2 80 srv.test." + udp,
		"--type TXT all.test.":     `all.test.         TXT         13  "a\027[31m\194\133\"b\\"` + udp,
		"--type SOA all.test.":     "all.test.         SOA         14  . . 0 0 0 0 0" + udp,
		"--type TYPE65 all.test.":  `all.test.         TYPE65      15  \# 2 01AB` + udp,
		"--type PTR 192.0.2.1":     "192.0.2.1         PTR         16  host.test." + udp,
		"--type PTR 2001:db8::1":   "2001:db8::1       PTR         16  host.test." + udp,
		"192.0.2.77":               "192.0.2.77        A            -  192.0.2.77  (literal)\n",
		"localhost":                "localhost         A            -  127.0.0.1  (localhost)\nlocalhost         AAAA         -  ::1  (localhost)\n",
		"--type A localhost":       "localhost         A            -  127.0.0.1  (localhost)\n",
	} {
		t.Run(args, func(t *testing.T) {
			status, out, err, _ := resolveNames(t, "", strings.Fields(args)...)
			if lines := strings.SplitAfter(out, "\n"); args == "both.test." && !strings.HasPrefix(out, "both.test.        A ") {
				slices.Sort(lines) // RFC 6724 orders by the routes of the machine
				out = strings.Join(lines, "")
			}
			if status != exitOK || out != want || err != "" {
				t.Errorf("status %d\n%swant\n%s%s", status, out, want, err)
			}
		})
	}
}

// With --json there is an object a line for each name and type, also for one that fails, and nothing else on
// standard output.
func TestResolveJSON(t *testing.T) {
	testkit.CheckLeaks(t)
	for args, want := range map[string]string{
		"--type A both.test.":  `{"name":"both.test.","type":"A","answers":["192.0.2.7"],"canonical":"both.test.","ttl":300,"path":"evented SERVER udp"}`,
		"--type A alias.test.": `{"name":"alias.test.","type":"A","answers":["192.0.2.9"],"canonical":"real.test.","ttl":60,"path":"evented SERVER udp"}`,
		"--type TXT all.test.": `{"name":"all.test.","type":"TXT","answers":["\"a\\027[31m\\194\\133\\\"b\\\\\""],"canonical":"all.test.","ttl":13,"path":"evented SERVER udp"}`,
		"--type PTR 192.0.2.1": `{"name":"192.0.2.1","type":"PTR","answers":["host.test."],"canonical":"1.2.0.192.in-addr.arpa.","ttl":16,"path":"evented SERVER udp"}`,
		"192.0.2.77":           `{"name":"192.0.2.77","type":"A+AAAA","answers":["192.0.2.77"],"canonical":"192.0.2.77","path":"literal"}`,
		"x.invalid.":           `{"name":"x.invalid.","type":"A+AAAA","answers":[],"error":"no such name: names under .invalid do not exist (RFC 6761, section 6.4)","cause":"nxdomain"}`,
		"127.1":                `{"name":"127.1","type":"A+AAAA","answers":[],"error":"the name ends in a number and is not an IPv4 address: write that as four decimal numbers, without a final dot","cause":"failed"}`,
		"--type MX localhost":  `{"name":"localhost","type":"MX","answers":[],"error":"no record of the type: localhost has addresses only (RFC 6761, section 6.3)","cause":"nodata"}`,
		"nobody.test.":         `{"name":"nobody.test.","type":"A+AAAA","answers":[],"path":"evented SERVER udp","error":"no such name; check the spelling (evented SERVER udp)","cause":"nxdomain"}`,
		"--type MX both.test.": `{"name":"both.test.","type":"MX","answers":[],"path":"evented SERVER udp","error":"the name exists, but has no MX record; try another --type (evented SERVER udp)","cause":"nodata"}`,
		"http://u:secret@h/":   `{"name":"http://***@h/","type":"A+AAAA","answers":[],"error":"this is a URL; give the name of its host only","cause":"failed"}`,
		"--timeout 1ms --attempts 1 --type A silent.test.": `{"name":"silent.test.","type":"A","answers":[],"error":"no response in time; check that the server can be reached, or raise --timeout or --attempts (1 attempt, the last at SERVER udp)","cause":"timeout"}`,
		"--attempts 2 --type A failing.test.":              `{"name":"failing.test.","type":"A","answers":[],"error":"the server reports SERVFAIL; ask another one with --server (2 attempts, the last at SERVER udp)","cause":"failed"}`,
	} {
		t.Run(args, func(t *testing.T) {
			status, out, err, _ := resolveNames(t, "", append([]string{"--json"}, strings.Fields(args)...)...)
			wanted := exitOK
			if strings.Contains(want, `"error"`) {
				wanted = exitFailed
			}
			if status != wanted || out != want+"\n" || err != "" {
				t.Errorf("status %d, want %d\n%swant\n%s\n%s", status, wanted, out, want, err)
			}
		})
	}
}

// The name in JSON is the one that was given, and printable: what a terminal may interpret is escaped.
func TestResolveJSONIsPrintable(t *testing.T) {
	testkit.CheckLeaks(t)
	const name = "\x1b\u009b\x7f\u202e.test."
	_, out, _, _ := resolveNames(t, "", "--json", "--type", "TXT", name)
	var o struct{ Name string }
	if err := json.Unmarshal([]byte(out), &o); err != nil || o.Name != name || strings.ContainsAny(out, "\x1b\u009b\x7f\u202e") {
		t.Errorf("%v, %q", err, out)
	}
}

// A name that fails is a line on standard error, and does not stop the others.
func TestResolveSomeFail(t *testing.T) {
	testkit.CheckLeaks(t)
	status, out, err, _ := resolveNames(t, "", "--type", "A,MX", "both.test.", "a b\x1b.test.", "n1 \x1b.many.")
	want := `pollux: a\032b\027.test. A: no such name; check the spelling (evented SERVER udp)`
	if status != exitFailed || strings.Count(out, "\n") != 2 || strings.Count(err, "\n") != 5 || !strings.Contains(out, `n1\032\027.many.  A `) || !strings.Contains(err, want+"\n") ||
		!strings.Contains(err, "pollux: both.test. MX: the name exists, but has no MX record") || !strings.Contains(err, "\npollux: 2 of 6 resolved in ") || !strings.HasSuffix(err, "; 4 failed\n") {
		t.Errorf("status %d\n%s%s", status, out, err)
	}
	if status, out, err, _ = resolveNames(t, "", "--quiet", "both.test.", "cut.test."); status != exitOK || err != "" {
		t.Errorf("quiet: status %d\n%s%s", status, out, err)
	}
}

// 20,000 names of a list have one answer each; comments and empty lines have none.
func TestResolveList(t *testing.T) {
	testkit.CheckLeaks(t)
	const count = 20_000
	var list strings.Builder
	list.WriteString("\ufeff# names\r\n\r\n")
	for i := range count {
		fmt.Fprintf(&list, "  n%d.many. \r\n", i)
	}
	status, out, err, _ := resolveNames(t, list.String(), "--input", "-", "--json", "--type", "A", "--parallel", "64")
	if status != exitOK || !strings.HasPrefix(err, fmt.Sprintf("pollux: %d of %d resolved in ", count, count)) {
		t.Fatalf("status %d\n%s", status, err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		var o struct {
			Name    string
			Answers []string
		}
		if err := json.Unmarshal([]byte(line), &o); err != nil || seen[o.Name] || !slices.Equal(o.Answers, []string{manyAddress(o.Name)}) {
			t.Fatalf("%v: %s", err, line)
		}
		seen[o.Name] = true
	}
	if len(seen) != count {
		t.Errorf("%d names, want %d", len(seen), count)
	}
}

// Servers of --server are asked in turn: the second one when the first does not respond.
func TestResolveServers(t *testing.T) {
	testkit.CheckLeaks(t)
	silent := nameserver.Start(t, func(string, dns.Type) nameserver.Reply { return nameserver.Reply{Silent: true} }).String()
	status, out, err, server := resolveNames(t, "", "both.test.")
	if status != exitOK {
		t.Fatalf("status %d\n%s%s", status, out, err)
	}
	began := time.Now()
	status, out, err = pollux(t, "", "resolve", "--server", silent, "--server", server, "--timeout", "50ms", "--attempts", "20", "--type", "A", "--trace", "both.test.")
	elapsed := time.Since(began)
	_, after, ok := strings.Cut(out, "attempt 1: A "+silent+" udp: no response in time, after ")
	if status != exitOK || !ok || !strings.Contains(out, "192.0.2.7  (evented "+server+" udp)") {
		t.Fatalf("status %d\n%s%s", status, out, err)
	}
	after, _, _ = strings.Cut(after, "\n")
	// The time is from sending, which a busy machine may delay after the attempt has begun.
	if took, e := time.ParseDuration(after); e != nil || took <= 0 || took > elapsed {
		t.Errorf("an attempt of 50 ms took %q, of %v in all", after, elapsed)
	}
}

// With --trace, what was looked up, the aliases, and each attempt follow the answer or the failure.
func TestResolveTrace(t *testing.T) {
	testkit.CheckLeaks(t)
	status, out, err, _ := resolveNames(t, "", "--trace", "--type", "A", "--timeout", "5s", "--attempts", "2", "alias.test.", "failing.test.")
	for _, want := range []string{"    source: evented, because ", "    names to ask for: alias.test.\n", "    servers to ask: SERVER; each is asked 2 times at most, and has 5s\n", "    alias of: real.test.\n", "    answer for real.test. from evented SERVER udp in "} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q\n%s", want, out)
		}
	}
	for _, want := range []string{"    attempt 1: A SERVER udp: the server reports SERVFAIL, after ", "    attempt 2: A SERVER udp: the server reports SERVFAIL, after ", "    no answer in "} {
		if !strings.Contains(err, want) {
			t.Errorf("want %q\n%s", want, err)
		}
	}
	_, out, err, _ = resolveNames(t, "", "--trace", "--json", "--type", "A", "alias.test.", "failing.test.")
	for line := range strings.Lines(out) {
		var o struct {
			Name  string
			Trace struct {
				Query, Source           string
				Names, Aliases, Servers []string
				Attempts                []struct {
					Server, Transport, Error string
					TookUS                   int64 `json:"took_us"`
				}
			}
		}
		if e := json.Unmarshal([]byte(line), &o); e != nil || o.Trace.Query != o.Name || o.Trace.Source != "evented" || !slices.Equal(o.Trace.Names, []string{o.Name}) || len(o.Trace.Servers) != 1 || err == "" {
			t.Errorf("%v\n%s%s", e, line, err)
		}
		for _, a := range o.Trace.Attempts {
			if a.TookUS <= 0 {
				t.Errorf("attempt %+v", a)
			}
		}
		if o.Name == "alias.test." && !slices.Equal(o.Trace.Aliases, []string{"real.test."}) || o.Name == "failing.test." && len(o.Trace.Attempts) != 2 {
			t.Errorf("trace %+v", o.Trace)
		}
	}
	if status != exitFailed || strings.Count(out, "\n") != 2 {
		t.Errorf("status %d\n%s", status, out)
	}
}

// A URL given instead of a name is not sent to a server, and its password not printed.
func TestResolveHidesCredentials(t *testing.T) {
	testkit.CheckLeaks(t)
	var mu sync.Mutex
	var asked []string
	server := nameserver.Start(t, func(name string, _ dns.Type) nameserver.Reply {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, name)
		return nameserver.Reply{}
	}).String()
	const secret = "http://al1ce:s3cr3t@h/"
	for _, args := range [][]string{
		{secret},
		{"--json", secret},
		{"--trace", secret},
		{"--input", "-"},
		{"--input", secret},
		{"--server", secret},
		{"--type", secret},
		{"--strategy", secret},
		{"--input", filepath.Join(testkit.TempDir(t), "al1ce:s3cr3t@h")},
	} {
		status, out, err := pollux(t, secret+"\n", append([]string{"resolve", "-s", server}, args...)...)
		if status == exitOK || strings.Contains(out+err, "s3cr3t") {
			t.Errorf("%q: status %d\n%s%s", args, status, out, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) > 0 {
		t.Errorf("the server was asked for %q", asked)
	}
}

// Nothing is attempted if the flags, or all of the list, are wrong; an error in the middle of a list
// is one after the answers before it.
func TestResolveWrongUsage(t *testing.T) {
	testkit.CheckLeaks(t)
	long := strings.Repeat("x", 70_000)
	for _, c := range []struct {
		in, args string
		status   int
		want     string
	}{
		{"", "", exitUsage, "pollux: no name: give one like example.org, or a list with --input FILE"},
		{"", "--input -", exitUsage, "pollux: read the list of names in -: there is no name: give one per line, like example.org"},
		{"# no\n\n", "--input -", exitUsage, "pollux: read the list of names in -: there is no name"},
		{"", "--input /no/such/file", exitUsage, "pollux: read the list of names in /no/such/file: "},
		{long, "--input -", exitUsage, "pollux: read the list of names in -: line 1: the line has more than 65536 bytes"},
		{"localhost\n" + long, "-q --input -", exitFailed, "pollux: read the list of names in -: line 2: the line has more than 65536 bytes"},
		{"", "--type HTTPS x", exitUsage, "pollux: --type HTTPS: unknown type: give A, AAAA, A+AAAA, CNAME, SRV, MX, TXT, PTR, NS, SOA, or TYPE and a number, such as TYPE65; write --type MX"},
		{"", "--type A,TYPE255 x", exitUsage, "pollux: --type TYPE255: no record has this type: give "},
		{"", "--type TYPE65536 x", exitUsage, "pollux: --type TYPE65536: the number of a type is from 1 to 65534: give "},
		{"", "--server= x", exitUsage, "pollux: --server: not an IP address: give "},
		{"", "--server 192.0.2.1, x", exitUsage, "pollux: --server: not an IP address: give "},
		{"", "--type= x", exitUsage, "pollux: --type: unknown type: give "},
		{"", "--server example.org x", exitUsage, "pollux: --server example.org: not an IP address: give an IP address, with or without a port; write --server 192.0.2.53:53"},
		{"", "--server 192.0.2.1:0 x", exitUsage, `pollux: --server 192.0.2.1:0: port "0" is not a number from 1 to 65535: give `},
		{"", "--server 192.0.2.1:65536 x", exitUsage, `pollux: --server 192.0.2.1:65536: port "65536" is not a number from 1 to 65535: give `},
		{"", "--server [2001:db8::1]: x", exitUsage, `pollux: --server [2001:db8::1]:: port "" is not a number from 1 to 65535: give `},
		{"", "--strategy fast x", exitUsage, "pollux: --strategy fast: unknown strategy: give auto, "},
		{"", "--strategy pool --server 192.0.2.1 x", exitUsage, "pollux: --strategy pool does not ask the servers of --server; write --strategy evented"},
		{"", "--parallel 0 x", exitUsage, "pollux: --parallel 0: give a number from 1 to 4096; write --parallel 100"},
		{"", "--timeout 2 x", exitUsage, "pollux: --timeout 2: the unit is missing: give a time of 0s or more (0s: that of resolv.conf, or else 5s); write --timeout 2s"},
		{"", "--attempts -1 x", exitUsage, "pollux: --attempts -1: give a number from 0 to 100 (0: that of resolv.conf, or else 2); write --attempts 3"},
	} {
		t.Run(c.args, func(t *testing.T) {
			status, out, err := pollux(t, c.in, append([]string{"resolve"}, strings.Fields(c.args)...)...)
			if status != c.status || !strings.HasPrefix(err, c.want) || strings.Count(err, "\n") != 1 || (out == "") != (c.status == exitUsage) {
				t.Errorf("status %d, want %d and %q\n%s%s", status, c.status, c.want, out, err)
			}
		})
	}
}

// The system's resolver, which knows localhost on every system, gives addresses without a TTL.
func TestResolveByPool(t *testing.T) {
	testkit.CheckLeaks(t)
	status, out, err := pollux(t, "", "resolve", "--strategy", "pool", "--json", "ip6-localhost", "localhost.")
	if !strings.Contains(out, `{"name":"localhost.","type":"A+AAAA","answers":["127.0.0.1","::1"],"canonical":"localhost","path":"localhost"}`) {
		t.Errorf("status %d\n%s%s", status, out, err)
	}
	if !strings.Contains(out, `"path":"pool`) { // on Windows, with the function's name
		t.Errorf("status %d: want the pool for ip6-localhost, whether it is known or not\n%s%s", status, out, err)
	}
}

// With --strategy inline, no source is asked.
func TestResolveInline(t *testing.T) {
	testkit.CheckLeaks(t)
	status, out, err := pollux(t, "", "resolve", "--strategy", "inline", "--json", "nobody.test.")
	want := `{"name":"nobody.test.","type":"A+AAAA","answers":[],"error":"not known without asking a server; write --strategy auto","cause":"unknown"}` + "\n"
	if status != exitFailed || out != want || err != "" {
		t.Errorf("status %d\n%s%s", status, out, err)
	}
	if status, out, err = pollux(t, "", "resolve", "--strategy", "inline", "localhost"); status != exitOK || !strings.Contains(out, "127.0.0.1  (localhost)") {
		t.Errorf("status %d\n%s%s", status, out, err)
	}
}
