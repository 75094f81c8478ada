// Package fetch gets many URLs at once over HTTP/1.1, with one goroutine that
// waits for all of them.
//
// Who does what:
//
//   - The loop's goroutine does all socket I/O, timers and decisions: connect,
//     ask, read, redirect, try again. It parses heads, by net/http's own reader
//     once a head is whole. It never blocks.
//   - Host names are looked up by the goroutines of package resolve.
//   - A body is decoded and stored by a goroutine of its own that lives as long as
//     the body comes in: body.go tells why and what bounds it.
package fetch

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
)

// A Job is one URL to be fetched. What is exported of it has no user name and no
// password.
type Job struct {
	Index int    // its place in the list, from 0
	Text  string // as the user gave it, redacted
	URL   *url.URL
	Err   error // why Text is not a URL that can be fetched; URL is nil then

	credentials credentials
}

// NewJob parses text. A bad URL makes a Job with Err.
func NewJob(index int, text string) *Job {
	u, c, err := parse(text)
	return &Job{Index: index, Text: redact.URL(text), URL: u, Err: err, credentials: c}
}

// parse returns an error that does not repeat the URL.
func parse(text string) (*url.URL, credentials, error) {
	if front := front.FindStringSubmatch(text); front[1] == "" || front[2] == "" {
		return nil, nil, &Error{Step: "read the URL", Err: errors.New("no http:// in front"), Advice: "write it like http://example.org/path"}
	}
	u, err := url.Parse(encoded(text))
	if err != nil {
		return nil, nil, &Error{Step: "read the URL", Err: malformed(err), Advice: "write it like http://example.org/path"}
	}
	u, c := separate(u)
	if err := acceptable(u); err != nil {
		return nil, nil, err
	}
	return u, c, nil
}

// malformed returns an error of package url in words that quote nothing: what package
// url takes for a host or a port may be a password.
func malformed(err error) error {
	var escape url.EscapeError
	var host url.InvalidHostError
	switch {
	case errors.As(err, &escape):
		return errors.New("a % is not followed by two hexadecimal digits (write %25 for a % itself, also before the zone of an IPv6 address)")
	case errors.As(err, &host):
		return errors.New("invalid character in the host")
	}
	return errors.New("the host or the port is malformed (in a user name and a password write %XX for what is neither a letter nor a digit)")
}

// front is what a reference has before its path: a scheme, and a host (RFC 3986, B).
var front = regexp.MustCompile(`^([^:/?#]+:)?(//[^/?#]*)?`)

// encoded returns a reference with the bytes behind its host that no URL may have
// (RFC 3986, 2) percent-encoded. A blank would end the target of the request; and
// where such a byte is in a path, package url decodes and encodes all of it anew, by
// which %2F becomes another path.
func encoded(text string) string {
	at := len(front.FindString(text))
	var b strings.Builder
	b.WriteString(text[:at])
	for i := at; i < len(text); i++ {
		if c := text[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// acceptable returns an error if a URL, the user's or a redirect's, cannot be fetched.
func acceptable(u *url.URL) error {
	switch strings.ToLower(u.Scheme) {
	case "http":
	case "https":
		return &Error{Step: "use https", Err: errors.New("TLS is not there yet"), Advice: "give an http:// URL"}
	default:
		return &Error{Step: "read the URL", Err: fmt.Errorf("scheme %q is not http", u.Scheme), Advice: "give an http:// URL"}
	}
	host := u.Hostname()
	if host == "" {
		return &Error{Step: "read the URL", Err: errors.New("it names no host"), Advice: "write it like http://example.org/path"}
	}
	for i := range len(host) {
		if host[i] <= ' ' || host[i] >= 0x7f {
			return &Error{Step: "read the URL", Err: fmt.Errorf("host %q is not plain ASCII", host), Advice: "give its xn-- form"}
		}
	}
	if _, err := port(u); err != nil {
		return &Error{Step: "read the URL", Err: err, Advice: "ports go from 1 to 65535"}
	}
	return nil
}

// A Config says how to fetch. For limits of time, zero means none.
type Config struct {
	Parallel     int           // transfers at once, at least 1
	Head         bool          // ask for the heads alone
	Connect      time.Duration // for a lookup, and for each address to answer
	Idle         time.Duration // without a byte from the server
	Total        time.Duration // for one URL, redirects and retries included
	Retries      int           // further tries after a failure that may pass
	FirstBackOff time.Duration // before the first of them; it doubles
	MaxRedirects int
	UserAgent    string
	Received     func(n int) // told of bytes of bodies as they come; may be nil
}

// A Result is how one Job ended. Err is nil for a success.
type Result struct {
	Job    *Job
	URL    *url.URL // where redirects have led, without user name and password
	Status int      // of the last answer, 0 if there was none
	Bytes  int64    // of the body, decoded
	Took   time.Duration
	Tries  int
	Err    error
}
