package save

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("é", 300) + ".tar"
	for text, want := range map[string]string{
		"http://h/a/b.txt":            "b.txt",
		"http://h":                    "index.html",
		"http://h/":                   "index.html",
		"http://h/dir/":               "index.html",
		"http://h/a?x=1&y=/../2":      "a_x=1&y=_.._2",
		"http://h/..":                 "_",
		"http://h/%2e%2e%2f%2e%2e":    "_",
		"http://h/a%2f..%2f..%2fetc":  "etc",
		"http://h/a%5c..%5cetc":       "a_.._etc",
		"http://h/%00%0a%1b[31m":      "___[31m",
		"http://h/.bashrc":            "_.bashrc",
		"http://h/c%3astream":         "c_stream",
		"http://h/nul.txt":            "_nul.txt",
		"http://h/COM1":               "_COM1",
		"http://h/common":             "common",
		"http://h/dots...":            "dots",
		"http://h/%ff%fe":             "__",
		"http://h/" + long:            strings.Repeat("é", 98) + ".tar",
		"http://h/x." + long:          "x." + strings.Repeat("é", 97) + ".tar",
		"http://h/caf%C3%A9%20au.txt": "café au.txt",
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

// Equal names are told apart, also on systems that do not look at case, and also
// from names that are numbered by themselves.
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
