package fetch

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
)

const (
	// maxHeadBytes bounds the head of an answer.
	maxHeadBytes = 64 << 10
	// maxInformational bounds the answers of class 1xx before the real one.
	maxInformational = 16
	// maxQuotedBytes bounds the part of an answer that a message quotes.
	maxQuotedBytes = 160
)

var httpPrefix = []byte("HTTP/")

// headEnd returns the end of the head at the start of b: after its first empty line. The
// caller knows that it does not end before from.
func headEnd(b []byte, from int) (end int, whole bool) {
	for i := from; i < len(b); i++ {
		if b[i] != '\n' {
			continue
		}
		switch {
		case bytes.HasPrefix(b[i+1:], []byte("\n")):
			return i + 2, true
		case bytes.HasPrefix(b[i+1:], []byte("\r\n")):
			return i + 3, true
		}
	}
	return 0, false
}

// couldBeHTTP checks the first bytes, so that a server of another protocol is
// detected immediately and not by a timeout.
func couldBeHTTP(b []byte) bool {
	n := min(len(b), len(httpPrefix))
	return bytes.Equal(b[:n], httpPrefix[:n])
}

// statusLine matches the status line of HTTP/1.1 and 1.0 (RFC 9112, 4). Some servers leave
// out the reason phrase.
var statusLine = regexp.MustCompile(`^HTTP/([0-9])\.[0-9] +([1-9][0-9]{2})( .*)?$`)

// readHead parses a complete head. The Response's Body reads from body.
//
// The framing of the body follows RFC 9112, 6.3: by chunks if there is a
// Transfer-Encoding, which must be "chunked" only, whatever the Content-Length and also
// for HTTP/1.0, where net/http would take the chunks for the body; otherwise by the single
// Content-Length; otherwise until the server closes. Anything else is an error.
//
// net/http gets a complete head, so it does not read from body while it parses; if it did,
// body would return an error, not block: see pipe.attached.
func readHead(head []byte, body io.Reader, req *http.Request) (*http.Response, error) {
	line, fields, _ := bytes.Cut(head, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	m := statusLine.FindSubmatch(line)
	if m == nil {
		return nil, fmt.Errorf("%w: status line %q", errAnswer, clip(string(line)))
	}
	if major := string(m[1]); major != "1" {
		return nil, fmt.Errorf("%w: version %s of HTTP", errAnswer, major)
	}
	first := strings.NewReader("HTTP/1.1 " + string(m[2]) + "\r\n") // also for 1.0: see above
	resp, err := http.ReadResponse(bufio.NewReader(io.MultiReader(first, bytes.NewReader(fields), body)), req)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", errAnswer, clip(err.Error()))
	}
	for name := range resp.Header {
		if strings.HasSuffix(name, " ") { // or "Transfer-Encoding :" would be ignored (RFC 9112, 5.1)
			return nil, fmt.Errorf("%w: a blank before the colon of %q", errAnswer, clip(name))
		}
	}
	return resp, nil
}

// clip returns the beginning of text that a server sent, redacted, for a message.
func clip(text string) string {
	text = redact.Text(text)
	if len(text) <= maxQuotedBytes {
		return text
	}
	return strings.ToValidUTF8(text[:maxQuotedBytes], "") + "..."
}

// newRequest returns the request for u and its bytes.
func newRequest(u *url.URL, c credentials, cfg *Config) (*http.Request, []byte, error) {
	req := &http.Request{
		Method: http.MethodGet, URL: u, Host: strings.TrimSuffix(u.Host, ":"),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header),
		Close: true, // "Connection: close": one connection for one request
	}
	if cfg.Head {
		req.Method = http.MethodHead
	}
	req.Header.Set("User-Agent", cfg.UserAgent)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Accept-Encoding", "identity") // bodies are stored as they are
	if c != nil {
		req.SetBasicAuth(c())
	}
	var b bytes.Buffer
	if err := req.Write(&b); err != nil {
		return nil, nil, err
	}
	return req, b.Bytes(), nil
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirected returns the URL to which resp, an answer to a request with credentials c,
// redirects, or nil if it does not. It returns the credentials in the Location, or else c, if
// the origin is the same.
func redirected(resp *http.Response, c credentials) (*url.URL, credentials, error) {
	location := strings.TrimSpace(resp.Header.Get("Location"))
	if location == "" || !redirects(resp.StatusCode) {
		return nil, nil, nil
	}
	from := resp.Request.URL
	u, err := from.Parse(encoded(location))
	if err != nil {
		return nil, nil, fmt.Errorf("bad Location %q: %w", clip(redact.URL(location)), malformed(err))
	}
	u, own := separate(u)
	u.Fragment = ""
	if u, err = acceptable(u); err != nil {
		return nil, nil, err
	}
	if own == nil && sameOrigin(from, u) {
		own = c
	}
	return u, own, nil
}
