// Package fetch fetches many URLs at the same time over HTTP/1.1, with one loop
// (package loop) and one resolver (package dns) for all of them. Those of https use TLS on the loop
// (package tlsconn).
//
// The goroutines:
//
//   - The loop's goroutine does all socket I/O, timers and decisions: look up, connect,
//     request, read, redirect, retry. It parses a head, with net/http's own reader,
//     when the head is complete. It never blocks.
//   - Each body is decoded and stored by its own goroutine (loop.Offload), which ends with
//     the body: body.go has the reason and the bounds.
//   - A TLS handshake has a goroutine of package tlsconn; after it the loop decrypts.
//   - Names that only the system's resolver can look up have the goroutines of dns.Resolver.
package fetch

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
	"github.com/pollux-io/pollux/internal/idn"
	"github.com/pollux-io/pollux/sock"
)

// A Job is one URL to be fetched. Its exported fields have no user name and no password.
type Job struct {
	Index int    // its position in the list, from 0
	Text  string // as the user gave it, redacted
	URL   *url.URL
	Err   error // set if Text cannot be fetched; URL is nil then

	credentials credentials
}

// NewJob parses text. A bad URL makes a Job with Err.
func NewJob(index int, text string) *Job {
	u, c, err := parse(text)
	return &Job{Index: index, Text: redact.URL(text), URL: u, Err: err, credentials: c}
}

// parse parses a URL. Its error does not quote the URL.
func parse(text string) (*url.URL, credentials, error) {
	if front := front.FindStringSubmatch(text); front[1] == "" || front[2] == "" {
		return nil, nil, &Error{Step: "read the URL", Err: errors.New("it does not begin with http:// or https://"), Advice: "write it like http://example.org/path"}
	}
	u, err := url.Parse(encoded(text))
	if err != nil {
		return nil, nil, &Error{Step: "read the URL", Err: malformed(err), Advice: "write it like http://example.org/path"}
	}
	u, c := separate(u)
	if u, err = acceptable(u); err != nil {
		return nil, nil, err
	}
	return u, c, nil
}

// malformed returns an error like err, of package url, but without quotations: what package
// url considers a host or a port may be a password.
func malformed(err error) error {
	var escape url.EscapeError
	var host url.InvalidHostError
	switch {
	case errors.As(err, &escape):
		return errors.New("a % is not followed by two hexadecimal digits (write %25 for a % itself, also before the zone of an IPv6 address)")
	case errors.As(err, &host):
		return errors.New("invalid character in the host")
	}
	return errors.New("the host or the port is malformed (in a user name and a password write %XX for characters other than letters and digits)")
}

// front matches the part of a reference before its path: a scheme and a host (RFC 3986, B).
var front = regexp.MustCompile(`^([^:/?#]+:)?(//[^/?#]*)?`)

// encoded returns a reference in which the bytes after the host that no URL may have
// (RFC 3986, 2) are percent-encoded. A space would end the target of the request; and
// if such a byte is in a path, package url decodes and re-encodes the whole path, which
// changes the meaning of %2F.
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

// acceptable returns a URL, of the user or of a redirect, with its host in ASCII, or an error if it cannot be fetched.
func acceptable(u *url.URL) (*url.URL, error) {
	if scheme := strings.ToLower(u.Scheme); scheme != "http" && scheme != "https" {
		return nil, &Error{Step: "read the URL", Err: fmt.Errorf("scheme %q is neither http nor https", u.Scheme), Advice: "give an http:// or https:// URL"}
	}
	u, err := inASCII(u)
	if err != nil {
		return nil, &Error{Step: "read the URL", Err: err}
	}
	host := u.Hostname()
	if host == "" {
		return nil, &Error{Step: "read the URL", Err: errors.New("it has no host"), Advice: "write it like http://example.org/path"}
	}
	for i := range len(host) {
		if host[i] <= ' ' || host[i] >= 0x7f {
			return nil, &Error{Step: "read the URL", Err: fmt.Errorf("host %q has a character that no host has", host), Advice: "write it like http://example.org/path"}
		}
	}
	if _, err := port(u); err != nil {
		return nil, &Error{Step: "read the URL", Err: err, Advice: "ports go from 1 to 65535"}
	}
	return u, nil
}

// inASCII returns u with an international host in its ASCII form (IDNA, UTS 46 nontransitional, as browsers do): the one
// that DNS, the field Host and certificates have. The error does not quote the host, which may be a password.
func inASCII(u *url.URL) (*url.URL, error) {
	host := u.Hostname()
	if idn.IsASCII(host) || strings.Contains(host, ":") { // an IPv6 address may have any zone
		return u, nil
	}
	ascii, err := idn.ToASCII(host)
	if e, ok := errors.AsType[*idn.LabelError](err); ok {
		return nil, fmt.Errorf("the host is not a valid international name: %s", e.Reason)
	}
	if err != nil {
		return nil, errors.New("the host is not a valid international name")
	}
	converted := *u
	converted.Host = ascii
	if p := u.Port(); p != "" {
		converted.Host += ":" + p
	}
	return &converted, nil
}

// A Config has the parameters of fetching. For time limits, zero means none.
type Config struct {
	Parallel     int           // maximum number of transfers at the same time, at least 1
	Head         bool          // request only the heads
	Connect      time.Duration // for looking up a host, connecting to it, all its addresses together, and the TLS handshake
	Idle         time.Duration // without a byte from the server
	Total        time.Duration // for one URL, redirects and retries included
	Retries      int           // retries after a transient failure
	FirstBackOff time.Duration // pause before the first retry; it doubles
	MaxRedirects int
	UserAgent    string
	Roots        *x509.CertPool // the authorities that are trusted to sign certificates of servers; nil: those of the system
	Insecure     bool           // do not verify certificates
	Received     func(n int)    // called with the number of received bytes of bodies; may be nil
	Network      sock.Network   // nil: that of the operating system
}

// A Result is the outcome of one Job. Err is nil for a success.
type Result struct {
	Job    *Job
	URL    *url.URL // the URL after redirects, without user name and password
	Status int      // of the last answer, 0 if there was none
	Bytes  int64    // of the body, decoded
	Took   time.Duration
	Tries  int
	// Downgrade is the first http URL to which an https URL was redirected, without user name and password, or nil.
	Downgrade *url.URL
	Err       error
}
