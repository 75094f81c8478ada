package save

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("é", 300) + ".tar"
	for text, want := range map[string]string{
		"http://h/a/b.txt":                        "b.txt",
		"http://h":                                "index.html",
		"http://h/":                               "index.html",
		"http://h/dir/":                           "index.html",
		"http://h/a?x=1&y=/../2":                  "a_x=1&y=_.._2",
		"http://h/..":                             "_",
		"http://h/%2e%2e%2f%2e%2e":                "_",
		"http://h/a%2f..%2f..%2fetc":              "etc",
		"http://h/a%5c..%5cetc":                   "a_.._etc",
		"http://h/%00%0a%1b[31m":                  "___[31m",
		"http://h/.bashrc":                        "_.bashrc",
		"http://h/c%3astream":                     "c_stream",
		"http://h/nul.txt":                        "_nul.txt",
		"http://h/COM1":                           "_COM1",
		"http://h/common":                         "common",
		"http://h/dots...":                        "dots",
		"http://h/%ff%fe":                         "__",
		"http://h/" + long:                        strings.Repeat("é", 98) + ".tar",
		"http://h/x." + long:                      "x." + strings.Repeat("é", 97) + ".tar",
		"http://h/-rf":                            "_-rf",
		"http://h/--output=x":                     "_--output=x",
		"http://h/%2drf":                          "_-rf",
		"http://h/~root":                          "_~root",
		"http://h/%20a%20":                        "_ a",
		"http://h/a.txt%20.%20.":                  "a.txt",
		"http://h/%e2%80%ae txt.exe":              "_ txt.exe",
		"http://h/a%7f%c2%85%e2%80%a8":            "a___",
		"http://h/lpt0":                           "_lpt0",
		"http://h/con%20.txt":                     "_con .txt",
		"http://h/COM%c2%b9.a.b":                  "_COM¹.a.b",
		"http://h/get?u=ftp://a:secret@i/f":       "get_u=ftp______@i_f",
		"http://h/get?ftp%3A%2F%2Fa%3Asecret%40i": "get_ftp%3A%2F%2F___@i",
		"http://h/caf%C3%A9%20au.txt":             "café au.txt",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got := Names([]*url.URL{u})[0]
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		if len(got) > maxNameBytes+1 || strings.ContainsAny(got, "/\\\x00") || got == "." || got == ".." {
			t.Errorf("%s: %q is not safe", text, got)
		}
	}
}

// Numbered names are safe, too.
func TestNumberedNames(t *testing.T) {
	var urls []*url.URL
	for range 3 {
		for _, p := range []string{"/-rf", "/nul", "/com", "/.x", "/" + strings.Repeat("y", 300) + ".tar"} {
			urls = append(urls, &url.URL{Path: p})
		}
	}
	for _, name := range Names(urls) {
		if problem := unsafe(name); problem != "" {
			t.Errorf("%q %s", name, problem)
		}
	}
}

// unsafe returns what is wrong with a file name, on any system.
func unsafe(name string) string {
	const maxFileName = 255 // bytes, of most file systems
	switch {
	case name == "" || len(name) > maxFileName || !utf8.ValidString(name):
		return "is empty, too long or not UTF-8"
	case strings.ContainsAny(name, "/\\:*?\"<>|"):
		return "has a separator or a special character"
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has a control character"
	case strings.ContainsAny(name[:1], ".-~ ") || strings.ContainsAny(name[len(name)-1:], ". "):
		return "begins or ends with a special character"
	case reserved(name) || !filepath.IsLocal(name) || filepath.Base(name) != name:
		return "is a device or leaves the directory"
	}
	return ""
}

// Every name is safe, also of URLs with equal names.
func FuzzNames(f *testing.F) {
	for _, seed := range [][2]string{
		{"/-rf", ""},
		{"/..", "q"},
		{"/nul.txt", ""},
		{"/a\\b", "../x"},
		{"/\xff\x00\x1b", "=%00"},
		{"/COM\u00b9", ""},
		{"/a. .", ""},
		{"/.", "//u:p@h"},
		{"/" + strings.Repeat("\u00e9", 300), ""},
		{"/con -2", ""},
		{"/\u017f", "\u212a"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		u := &url.URL{Path: path, RawQuery: query}
		names := Names([]*url.URL{u, u, u})
		for i, name := range names {
			if problem := unsafe(name); problem != "" {
				t.Errorf("%q and %q: %q %s", path, query, name, problem)
			}
			for _, other := range names[:i] {
				if strings.EqualFold(name, other) {
					t.Errorf("%q and %q: %q twice", path, query, name)
				}
			}
		}
	})
}

// Equal names are made different, also on systems that ignore case, and also
// from names that already have a number.
func TestNamesCollide(t *testing.T) {
	var urls []*url.URL
	for _, p := range []string{"/a.txt", "/x/a.txt", "/A.TXT", "/a-2.txt", "/y/a.txt", "/"} {
		urls = append(urls, &url.URL{Path: p})
	}
	urls = append(urls, nil)
	want := []string{"a.txt", "a-2.txt", "A-2.TXT", "a-2-2.txt", "a-3.txt", "index.html", ""}
	got := Names(urls)
	seen := make(map[string]bool)
	for _, name := range got[:len(got)-1] {
		if lower := strings.ToLower(name); seen[lower] {
			t.Errorf("%q twice in %q", name, got)
		} else {
			seen[lower] = true
		}
	}
	if !slices.Equal(got[:2], want[:2]) || got[6] != "" {
		t.Errorf("%q", got)
	}
}
