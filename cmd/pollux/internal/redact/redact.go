// Package redact removes user names and passwords from text that is printed, logged
// or used as a file name.
package redact

import (
	"regexp"
	"strconv"
	"strings"
)

// Mask replaces the removed text.
const Mask = "***"

var (
	// front is the part of a would-be URL before its user name.
	front = regexp.MustCompile(`(?i)^([a-z][a-z0-9+.-]*://|https?:/?)`)
	// afterHost is a host without brackets and what follows its colon.
	afterHost = regexp.MustCompile(`^([^:/?#@\[\]]*:)(.*)`)
	port      = regexp.MustCompile(`^[0-9]*([/?#]|$)`)
	login     = regexp.MustCompile(`:.*@`)
	userinfo  = regexp.MustCompile(`(//|%2[fF]%2[fF])[^/?#\s]*(@|%40)`)
)

// URL returns text, a URL that may be malformed, without its user name and password. If
// text cannot be parsed with certainty, URL removes too much: everything before the last @,
// and without an @ everything after a colon that is not followed by a port.
func URL(text string) string {
	scheme := front.FindString(text)
	rest := text[len(scheme):]
	at, end := strings.LastIndex(rest, "@"), 0
	if at >= 0 {
		end = at + len("@")
	}
	if i := strings.LastIndex(rest, "%40"); i > at {
		at, end = i, i+len("%40")
	}
	if at >= 0 {
		return scheme + Mask + "@" + rest[end:]
	}
	if m := afterHost.FindStringSubmatch(rest); m != nil && !port.MatchString(m[2]) {
		return scheme + m[1] + Mask
	}
	return text
}

// Text returns text with the user names and passwords of the URLs in it replaced by
// Mask, also where a URL is percent-encoded in another's query.
func Text(text string) string { return userinfo.ReplaceAllString(text, "${1}"+Mask+"@") }

// Arguments returns message, an error about arguments of a command line, with the
// URLs among these redacted.
func Arguments(message string, args []string) string {
	for _, arg := range args {
		_, value, _ := strings.Cut(arg, "=")
		for _, part := range []string{arg, value, strings.TrimLeft(arg, "-"), arg[min(len("-x"), len(arg)):]} {
			if !strings.Contains(part, "@") && !strings.Contains(part, "%40") && !strings.Contains(part, "://") {
				continue
			}
			quoted := strconv.Quote(part)
			message = strings.ReplaceAll(message, quoted[1:len(quoted)-1], URL(part))
			message = strings.ReplaceAll(message, part, URL(part))
		}
	}
	return Text(message)
}

// File returns the name of a file, redacted if it looks like a URL given by mistake.
func File(name string) string {
	if front.MatchString(name) || login.MatchString(name) {
		return URL(name)
	}
	return name
}
