package lookup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/testkit"
)

// A kind's text is accepted again, whatever its case; types that no record has are refused.
func TestParseKind(t *testing.T) {
	for n := range 1 << 16 {
		k := Kind(n)
		got, err := ParseKind(strings.ToLower(k.String()))
		if refused := n == 41 || 128 <= n && n <= 255 || n == 65535; refused != (err != nil) || err == nil && got != k {
			t.Fatalf("%v: %v, %v", k, got, err)
		}
	}
	for _, bad := range []string{"", "TYPE", "TYPE0", "TYPE-1", "TYPE65536", "TYPE 1", "ANY", "A,B"} {
		if k, err := ParseKind(bad); err == nil {
			t.Errorf("%q: %v", bad, k)
		}
	}
	kinds, _, err := ParseKinds([]string{"a", "MX", "TYPE1", "A+AAAA"})
	if err != nil || fmt.Sprint(kinds) != "[A MX A+AAAA]" {
		t.Errorf("%v, %v", kinds, err)
	}
}

func TestParseServer(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.53": "192.0.2.53:53", "192.0.2.53:5353": "192.0.2.53:5353", "2001:db8::53": "[2001:db8::53]:53",
		"[2001:db8::53]": "[2001:db8::53]:53", "[2001:db8::53]:5353": "[2001:db8::53]:5353", "fe80::1%eth0": "[fe80::1%eth0]:53",
		"[fe80::1%eth0]:54": "[fe80::1%eth0]:54",
		"":                  "", "localhost": "", "192.0.2.53:": "", "192.0.2.53:dns": "", "192.0.2.53:0": "", "192.0.2.53:65536": "",
		":53": "", "192.0.2": "", "[2001:db8::53]:": "", "[192.0.2.53": "", "192.0.2.53]": "",
	} {
		got, err := ParseServer(text)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: %v, %v, want %q", text, got, err, want)
		}
	}
}

// The reverse name is that of package dnswire.
func TestReverseName(t *testing.T) {
	for _, text := range []string{"192.0.2.1", "0.0.0.0", "255.255.255.255", "2001:db8::567:89ab", "::", "::ffff:192.0.2.1", "fe80::1%eth0"} {
		addr := netip.MustParseAddr(text)
		if got, want := reverseName(addr), dnswire.ReverseName(addr).String(); got != want {
			t.Errorf("%v: %s, want %s", addr, got, want)
		}
	}
}

// No text of a name or of a server reaches the terminal as a control character, and JSON keeps it.
func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"example.org": "example.org", "a b": "a b", "\x1b[31m": `\027[31m`, "b\u00fccher": "b\u00fccher", "\u0085": `\194\133`,
		"\u202e": `\226\128\174`, "\xff": `\255`, "\x7f": `\127`, "\U000e0001": `\243\160\128\129`, "": "",
	} {
		if got := printable(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
		if got := printableName(s); got == "" || strings.Contains(got, " ") {
			t.Errorf("%q: %q is not one word", s, got)
		}
		encoded, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		escaped := escapeUnprintable(encoded)
		var back string
		if err := json.Unmarshal(escaped, &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") || printable(string(escaped)) != string(escaped) {
			t.Errorf("%q: %s, %q, %v", s, escaped, back, err)
		}
	}
}

// A name that is not valid UTF-8 is escaped in JSON: it remains different from other names.
func TestJSONName(t *testing.T) {
	for name, want := range map[string]string{
		"\xff\xfe.test": `\255\254.test`, "b\u00fccher.test": "b\u00fccher.test", "a b": "a b", "\x1b.test": "\x1b.test", "\x1b\xff": `\027\255`,
	} {
		var out bytes.Buffer
		j := NewJSON(&out, TraceOf)
		r := &Result{Job: Job{Name: name, Query: name}, Err: &dns.Error{Name: name, Err: dns.ErrNoName}}
		if err := errors.Join(j.Result(r), j.Flush()); err != nil {
			t.Fatal(err)
		}
		var got object
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Name != want || got.Trace.Query != want {
			t.Errorf("%q: %s, %v, want %q", name, out.Bytes(), err, want)
		}
	}
}

// The text of a server that cannot be reached has the server and advice.
func TestNetworkErrorTexts(t *testing.T) {
	for e, want := range map[syscall.Errno]string{
		syscall.ECONNREFUSED: "the connection is refused; check that a DNS server listens at the address, or ask another one with --server",
		syscall.ENETUNREACH:  "connect: " + syscall.ENETUNREACH.Error() + "; check the network",
		syscall.EHOSTUNREACH: "connect: " + syscall.EHOSTUNREACH.Error() + "; check the network",
	} {
		err := os.NewSyscallError("connect", e)
		steps := []dns.Step{{Server: netip.MustParseAddrPort("192.0.2.53:53"), Err: err}}
		r := &Result{Err: &dns.Error{Name: "a.test.", Err: err, Steps: steps}}
		want += " (1 attempt, the last at 192.0.2.53:53 udp)"
		if got := r.failure(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The text of an error that a server reports has advice, unlike that of an error of this machine, where no other server helps.
func TestServerErrorTexts(t *testing.T) {
	for e, want := range map[error]string{
		errors.New("the server reports REFUSED"):     "the server reports REFUSED; ask another one with --server",
		os.NewSyscallError("socket", syscall.EMFILE): "socket: " + syscall.EMFILE.Error(),
	} {
		r := &Result{Err: &dns.Error{Name: "a.test.", Err: e, Steps: []dns.Step{{Server: netip.MustParseAddrPort("192.0.2.53:53"), Err: e}}}}
		want += " (1 attempt, the last at 192.0.2.53:53 udp)"
		if got := r.failure(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The progress of a regular file is how much of it was read.
func TestFraction(t *testing.T) {
	path := filepath.Join(testkit.TempDir(t), "list")
	if err := os.WriteFile(path, []byte("a.\nbb.\nc"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := &List{Input: f, Kinds: []Kind{Addresses}}
	l.Measure()
	var got []string
	note := func() {
		done, ok := l.Fraction()
		got = append(got, fmt.Sprintf("%.2f %v", done, ok))
	}
	note()
	for range l.jobs(t.Context()) {
	}
	note()
	if want := "[0.00 true 1.00 true]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %v", got, want)
	}
	l = &List{Input: strings.NewReader("a."), Kinds: []Kind{Addresses}}
	l.Measure()
	if _, ok := l.Fraction(); ok {
		t.Error("the size of a stream is known")
	}
}

// The line fits the terminal, and the figures remain.
func TestProgressLine(t *testing.T) {
	list := &List{Given: make([]string, 8), Kinds: []Kind{Addresses}}
	for width, want := range map[int]string{
		200: " 50% 3 resolved, 1 failed [" + strings.Repeat("=", 20) + strings.Repeat("-", 20) + "]      2/s    2s",
		50:  " 50% 3 resolved, 1 failed [===----]      2/s    2s",
		30:  " 50% 3 resolved, 1 failed      2/s    2s",
	} {
		p := &Progress{list: list}
		for i := range 4 {
			r := &Result{}
			if i == 0 {
				r.Err = dns.ErrNoName
			}
			p.Count(r)
		}
		if got := p.line(width, 2*time.Second); got != want {
			t.Errorf("width %d: %q, want %q", width, got, want)
		}
	}
	p := &Progress{list: &List{Input: strings.NewReader("")}}
	if got, want := p.line(80, 0), "0 resolved      0/s    0s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A name that is wider than its column moves the others.
func TestNameWidth(t *testing.T) {
	for _, c := range []struct {
		given []string
		more  bool
		want  int
	}{
		{nil, false, leastNameWidth},
		{nil, true, listNameWidth},
		{[]string{"a"}, false, leastNameWidth},
		{[]string{strings.Repeat("x", 20)}, false, 20},
		{[]string{strings.Repeat("x", 200)}, false, mostNameWidth},
		{[]string{strings.Repeat("\x1b", 5)}, false, 20},
	} {
		if got := NameWidth(c.given, c.more); got != c.want {
			t.Errorf("%q, %v: %d, want %d", c.given, c.more, got, c.want)
		}
	}
}
