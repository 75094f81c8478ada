package save

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
)

const (
	// maxNameBytes leaves space, in the 255 bytes that file systems allow, for the number
	// of equal names.
	maxNameBytes = 200
	// maxExtensionBytes is the longest extension that is kept in a shortened name.
	maxExtensionBytes = 20
	// defaultName is for URLs that end in a slash.
	defaultName = "index.html"
)

// Names returns a file name for each URL, in order: the last part of its path and
// its query, without anything that could leave the directory, hide the file, be an option of a
// command, show a password (of a URL in the query), or be special on some system. Equal names,
// also if they differ in case only, are numbered. A nil URL has the name "".
func Names(urls []*url.URL) []string {
	names := make([]string, len(urls))
	taken := make(map[string]bool, len(urls))
	next := make(map[string]int)
	key := func(name string) string { return strings.ToLower(strings.ToUpper(name)) } // also ſ is s
	for i, u := range urls {
		if u == nil {
			continue
		}
		name := fileName(u)
		for plain := name; taken[key(name)]; {
			next[plain]++
			name = numbered(plain, next[plain]+1)
		}
		taken[key(name)] = true
		names[i] = name
	}
	return names
}

func fileName(u *url.URL) string {
	name := defaultName
	if u.Path != "" && !strings.HasSuffix(u.Path, "/") {
		name = path.Base(u.Path)
	}
	if u.RawQuery != "" {
		name += "_" + u.RawQuery
	}
	return safe(redact.Text(name))
}

// safe converts any text to a plain file name.
func safe(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, name)
	name = shorten(name)
	name = strings.TrimRight(name, ". ") // Windows drops them
	if name == "" || strings.ContainsRune(".-~ ", rune(name[0])) || reserved(name) {
		name = "_" + name // not hidden, not an option of a command, not the home of a user
	}
	return name
}

// shorten cuts a long name before its extension, between two characters.
func shorten(name string) string {
	if len(name) <= maxNameBytes {
		return name
	}
	extension := path.Ext(name)
	if len(extension) > maxExtensionBytes {
		extension = ""
	}
	end := maxNameBytes - len(extension)
	for end > 0 && !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end] + extension
}

// reserved reports whether name is a device on Windows, whatever its extension.
func reserved(name string) bool {
	base, _, _ := strings.Cut(strings.ToUpper(name), ".")
	base = strings.TrimRight(base, " ")
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$":
		return true
	}
	for _, device := range []string{"COM", "LPT"} {
		number, ok := strings.CutPrefix(base, device)
		if ok && utf8.RuneCountInString(number) == 1 && strings.Contains("0123456789¹²³", number) {
			return true
		}
	}
	return false
}

func numbered(name string, n int) string {
	extension := path.Ext(name)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, extension), n, extension)
}
