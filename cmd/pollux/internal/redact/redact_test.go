package redact

import (
	"strings"
	"testing"
)

func TestURL(t *testing.T) {
	for text, want := range map[string]string{
		"http://h/a":                      "http://h/a",
		"http://h:80/a":                   "http://h:80/a",
		"http://[::1]:80/a":               "http://[::1]:80/a",
		"nonsense":                        "nonsense",
		"https://alice:secret@h/a":        "https://***@h/a",
		"HTTP:/alice:secret@h/a":          "HTTP:/***@h/a",
		"alice:secret@h/a":                "***@h/a",
		"http://alice:se/cr?et#@h/a":      "http://***@h/a",
		"http://alice:s@cret@h/a":         "http://***@h/a",
		"http://alice:secret%40h/a":       "http://***@h/a",
		"http://alice:secret":             "http://alice:***",
		"http://alice:secret/part":        "http://alice:***",
		"http://secret@[::1":              "http://***@[::1",
		"http://alice:secret@h/%zz\x00":   "http://***@h/%zz\x00",
		"http://@h/":                      "http://***@h/",
		"\x00http://alice:secret@h/\x7f":  "***@h/\x7f",
		"http://alice:secret@h/?q=x@y":    "http://***@y",
		"http://alice:secret@h/?q=x%40y.": "http://***@y.",
	} {
		if got := URL(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"get http://alice:secret@h/a from b": "get http://***@h/a from b",
		"http://h/?u=ftp://secret@i/&v=w":    "http://h/?u=ftp://***@i/&v=w",
		"http://h/?u=x%3A%2F%2Fsecret%40i%2": "http://h/?u=x%3A%2F%2F***@i%2",
		"http://h/@user/x@y":                 "http://h/@user/x@y",
		"no URL: a@b":                        "no URL: a@b",
	} {
		if got := Text(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if got := Text(want); got != want {
			t.Errorf("%q changes to %q", want, got)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct{ message, arg, want string }{
		{"unexpected argument alice:s/cret@h", "alice:s/cret@h", "unexpected argument ***@h"},
		{`got "http://alice:s\"cret/@h"`, `--parallel=http://alice:s"cret/@h`, `got "http://***@h"`},
		{`got "http://alice:s/cret@h"`, "-phttp://alice:s/cret@h", `got "http://***@h"`},
		{`unknown flag --alice:s/cret@h`, "--alice:s/cret@h", `unknown flag ***@h`},
		{"--requests: many", "many", "--requests: many"},
	} {
		if got := Arguments(c.message, []string{"fetch", c.arg}); got != c.want {
			t.Errorf("%q: %q, want %q", c.message, got, c.want)
		}
	}
}

// Everything before the last @ is removed, and redacting twice changes nothing.
func FuzzURL(f *testing.F) {
	f.Add("http://alice:", "@h/")
	f.Add("//", "%40")
	f.Add("x://[", "@@")
	f.Add("-o=", "/\x00?#@\xff")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "S3CRET"
		text := before + secret + after
		got := URL(text)
		inScheme := strings.Contains(front.FindString(text), secret)
		if strings.Contains(after, "@") && strings.Contains(got, secret) && !inScheme {
			t.Errorf("%q: %q", text, got)
		}
		if again := Text(Text(got)); again != Text(got) {
			t.Errorf("%q: %q, then %q", text, Text(got), again)
		}
	})
}
