package idn

import (
	"errors"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/dnswire"
)

func TestToASCII(t *testing.T) {
	for name, want := range map[string]string{
		"":                              "",
		"www.example.com":               "www.example.com",
		"WWW.Example":                   "WWW.Example",
		"_sip._tcp.example.":            "_sip._tcp.example.",
		"xn--garbage--.example":         "xn--garbage--.example", // DNS allows it
		`a\.b\228.example`:              `a\.b\228.example`,
		"bücher.example.":               "xn--bcher-kva.example.",
		"BÜCHER.Example":                "xn--bcher-kva.example",
		"bu\u0308cher.example":          "xn--bcher-kva.example", // NFC
		"例え.テスト":                        "xn--r8jz45g.xn--zckzah",
		"例え。テスト。":                       "xn--r8jz45g.xn--zckzah.",
		"ｂücher．example｡":               "xn--bcher-kva.example.",
		"faß.de":                        "xn--fa-hia.de", // transitional: fass.de
		"βόλος.com":                     "xn--nxasmm1c.com",
		"☕.example":                     "xn--53h.example",
		"👩\u200d💻.example":              "", // a joiner between emoji
		"_sip._tcp.bücher.example":      "_sip._tcp.xn--bcher-kva.example",
		"r3---sn-ü.example":             "xn--r3---sn--e6a.example",
		"-ü-.example":                   "xn-----xka.example",
		"xn--bcher-kva.bücher":          "xn--bcher-kva.xn--bcher-kva",
		"نامه\u200cای.com":              "xn--mgba3gch31f060k.com", // a joiner that the script needs
		"אב.example":                    "xn--4dbc.example",
		"a\u00adü.example":              "xn--a-eha.example", // a soft hyphen is mapped to nothing
		strings.Repeat("ü", 40) + ".de": "xn--" + "",
	} {
		got, err := ToASCII(name)
		switch {
		case want == "" && name != "":
			if err == nil {
				t.Errorf("%+q is converted to %q, want an error", name, got)
			}
		case want == "xn--":
			if err != nil || !strings.HasPrefix(got, want) {
				t.Errorf("%+q: %q, %v", name, got, err)
			}
		case got != want || err != nil:
			t.Errorf("%+q: %q, %v; want %q", name, got, err, want)
		}
	}
}

// An error names the label, and why it is invalid.
func TestToASCIIErrors(t *testing.T) {
	for name, want := range map[string]struct{ label, reason string }{
		"ok.a\ufffdü.example":              {"a\ufffdü", "U+FFFD"},
		"ü.\xff.example":                   {"\xff", "UTF-8"},
		"ok.a\u200db.ü":                    {"a\u200db", "joiner"},
		"ü.אa.example":                     {"אa", "right-to-left"},
		"1a.אב":                            {"1a", "right-to-left"},
		"ü.\u0308a":                        {"\u0308a", "combining mark"},
		"ü.xn--a-.example":                 {"xn--a-", "not the ASCII form"},
		"ü.xn--abc.example":                {"xn--abc", "not the ASCII form"},
		"a＼ü.example":                      {"", "after mapping"},
		"℀.ü":                              {"a/c", "after mapping"},
		"a b.ü":                            {"a b", "after mapping"},
		"a\\.ü":                            {"a\\", "after mapping"},
		"ü\x00.example":                    {"", "after mapping"},
		"x." + strings.Repeat("üx", 40):    {"", "octets in ASCII"},
		strings.Repeat("ü.", MaxBytes/2):   {"", "longer than"},
		"\u00ad" + strings.Repeat("ü", 60): {"", "octets in ASCII"},
	} {
		got, err := ToASCII(name)
		e, ok := errors.AsType[*LabelError](err)
		if !ok || got != "" || want.label != "" && e.Label != want.label || !strings.Contains(e.Reason, want.reason) {
			t.Errorf("%+q: %q, %v; want the label %+q, %s", name, got, err, want.label, want.reason)
			continue
		}
		for _, c := range []byte(err.Error()) {
			if c < ' ' || c > '~' {
				t.Errorf("the error is not printable ASCII: %q", err.Error())
				break
			}
		}
	}
}

func TestASCIIDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { ToASCII("www.example.com") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever the name is, the ASCII form is one of letters, digits, - and _, and converts to itself. Lookups of both
// forms find the same.
func FuzzToASCII(f *testing.F) {
	for _, name := range []string{"bücher.example.", "例え。テスト", "אב.1", "a\u200db", "☕", "xn--ü", "℀", "\xff", "ẞ.ü."} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		ascii, err := ToASCII(name)
		if err != nil {
			if _, ok := errors.AsType[*LabelError](err); !ok || ascii != "" {
				t.Fatalf("%q, %v", ascii, err)
			}
			return
		}
		if again, err := ToASCII(ascii); again != ascii || err != nil {
			t.Fatalf("%q converts to %q, %v", ascii, again, err)
		}
		if IsASCII(name) {
			return
		}
		if strings.ContainsFunc(ascii, func(r rune) bool { return r != '.' && isForbidden(r) }) {
			t.Fatalf("%q", ascii)
		}
		n, err := dnswire.ParseName(ascii)
		if err == nil && n.String() != strings.TrimSuffix(ascii, ".")+"." {
			t.Fatalf("%q is parsed as %q", ascii, n.String())
		}
	})
}
