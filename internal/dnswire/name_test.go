package dnswire

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func mustName(t testing.TB, text string) Name {
	t.Helper()
	n, err := ParseName(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestParseName(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name255 := strings.Repeat(label63+".", 3) + strings.Repeat("b", 61) // 3*64 + 62 + 1
	for text, want := range map[string]Name{
		".":                       Root,
		"a":                       "\x01a\x00",
		"a.":                      "\x01a\x00",
		"Example.COM":             "\x07Example\x03COM\x00",
		"_sip._tcp.example.":      "\x04_sip\x04_tcp\x07example\x00",
		`My\.Printer\032\\.x`:     "\x0cMy.Printer \\\x01x\x00",
		`\000\255.\@`:             "\x02\x00\xff\x01@\x00",
		`a\..`:                    "\x02a.\x00",
		`1.0.0.127`:               "\x011\x010\x010\x03127\x00",
		"\u00fc.de":               "\x02\xc3\xbc\x02de\x00", // octets stand for themselves
		label63 + ".":             Name("\x3f" + label63 + "\x00"),
		name255:                   Name(strings.Repeat("\x3f"+label63, 3) + "\x3d" + strings.Repeat("b", 61) + "\x00"),
		name255 + ".":             Name(strings.Repeat("\x3f"+label63, 3) + "\x3d" + strings.Repeat("b", 61) + "\x00"),
		strings.Repeat("a.", 127): Name(strings.Repeat("\x01a", 127) + "\x00"),
	} {
		got, err := ParseName(text)
		if got != want || err != nil {
			t.Errorf("ParseName(%q) = %q, %v; want %q", text, got, err, want)
		}
		if !got.valid() {
			t.Errorf("ParseName(%q) = %q, which is not valid", text, got)
		}
	}
	for text, want := range map[string]error{
		"":                         ErrEmptyName,
		"..":                       ErrEmptyLabel,
		".a":                       ErrEmptyLabel,
		"a..b":                     ErrEmptyLabel,
		"a..":                      ErrEmptyLabel,
		label63 + "a":              ErrLabelTooLong,
		"x." + label63 + "a.y":     ErrLabelTooLong,
		name255 + "b":              ErrNameTooLong,
		strings.Repeat("a.", 128):  ErrNameTooLong,
		strings.Repeat("a.", 5000): ErrNameTooLong,
		`a\`:                       ErrBadEscape,
		`a\256`:                    ErrBadEscape,
		`a\25`:                     ErrBadEscape,
		`a\1.`:                     ErrBadEscape,
	} {
		got, err := ParseName(text)
		var ne *NameError
		if got != "" || !errors.Is(err, want) || !errors.As(err, &ne) || ne.Text != text {
			t.Errorf("ParseName(%.40q) = %q, %v; want %v in a *NameError", text, got, err, want)
		}
		if len(err.Error()) > 2*maxQuotedBytes {
			t.Errorf("the error about a text of %d octets has %d", len(text), len(err.Error()))
		}
	}
}

// Names that peers send are printed without control characters.
func TestNameString(t *testing.T) {
	for name, want := range map[Name]string{
		"":                          "",
		Root:                        ".",
		"\x03www\x07example\x00":    "www.example.",
		"\x04\x1b[2J\x00":           `\027[2J.`,
		"\x05a.b\\\"\x02\xff\n\x00": `a\.b\\\".\255\010.`,
		"\x03a b\x00":               `a\032b.`,
	} {
		got := name.String()
		if got != want {
			t.Errorf("%q prints as %q, want %q", string(name), got, want)
		}
		if name == "" {
			continue
		}
		if back, err := ParseName(got); back != name || err != nil {
			t.Errorf("ParseName(%q) = %q, %v; want %q", got, string(back), err, string(name))
		}
	}
}

func TestNameFold(t *testing.T) {
	upper, folded := mustName(t, "WWW.Ex\xc9mple.com"), mustName(t, "www.ex\xc9mple.com")
	if got := upper.Fold(); got != folded {
		t.Errorf("Fold = %q, want %q", got, folded) // only ASCII has case: \xc9 stays
	}
	if !upper.EqualFold(folded) || upper.EqualFold(mustName(t, "www.ex\xe9mple.com")) || upper.EqualFold(folded[1:]) {
		t.Error("EqualFold compares something other than octets with ASCII letters folded")
	}
	// Characters next to the letters have no case: '@' and '`', '[' and '{'.
	if mustName(t, `\@[`).EqualFold(mustName(t, "`{")) {
		t.Error("EqualFold folds characters that are not letters")
	}
	if n := testing.AllocsPerRun(100, func() { folded.Fold() }); n != 0 {
		t.Errorf("Fold of a name in lower case allocates %v times", n)
	}
}

func TestNameUnder(t *testing.T) {
	for _, c := range []struct {
		name, zone string
		want       bool
	}{
		{"a.example", "Example", true},
		{"example", "example", true},
		{"a.b.example", ".", true},
		{".", ".", true},
		{"notexample", "example", false},
		{`a\.example`, "example", false},
		{"example", "a.example", false},
		{".", "example", false},
		{"a.examplf", "example", false},
	} {
		if got := mustName(t, c.name).Under(mustName(t, c.zone)); got != c.want {
			t.Errorf("%q under %q: %v, want %v", c.name, c.zone, got, c.want)
		}
	}
}

func TestReverseName(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.10":         "10.2.0.192.in-addr.arpa.",
		"::ffff:192.0.2.10":  "10.2.0.192.in-addr.arpa.",
		"2001:db8::567:89ab": "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
		"fe80::1%eth0":       "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f.ip6.arpa.",
	} {
		got := ReverseName(netip.MustParseAddr(addr))
		if got.String() != want || !got.valid() {
			t.Errorf("ReverseName(%s) = %v, want %s", addr, got, want)
		}
	}
	if got := ReverseName(netip.Addr{}); got != "" {
		t.Errorf("ReverseName of no address = %q", got)
	}
}

func TestParseType(t *testing.T) {
	for typ, want := range map[Type]string{TypeA: "A", TypeSRV: "SRV", 257: "TYPE257", 0: "TYPE0", 65535: "TYPE65535"} {
		if got := typ.String(); got != want {
			t.Errorf("type %d prints as %s, want %s", typ, got, want)
		}
		if got, ok := ParseType(strings.ToLower(want)); got != typ || !ok {
			t.Errorf("ParseType(%q) = %d, %v; want %d", want, got, ok, typ)
		}
	}
	for _, s := range []string{"", "AA", "TYPE", "TYPE65536", "TYPE-1", "TYPE1x"} {
		if got, ok := ParseType(s); ok {
			t.Errorf("ParseType(%q) = %v", s, got)
		}
	}
}
