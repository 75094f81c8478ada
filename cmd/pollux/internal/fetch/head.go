package fetch

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const (
	// maxHeadBytes bounds the head of an answer.
	maxHeadBytes = 64 << 10
	// maxInformational bounds the answers of class 1xx before the real one.
	maxInformational = 16
)

var httpPrefix = []byte("HTTP/")

// headEnd returns where the head at the start of b ends: behind its first empty
// line. Nothing before from can be its end.
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

// couldBeHTTP looks at the first bytes, so that a server of another protocol is
// found out at once and not when time is up.
func couldBeHTTP(b []byte) bool {
	n := min(len(b), len(httpPrefix))
	return bytes.Equal(b[:n], httpPrefix[:n])
}

// readHead parses a whole head. The Response's Body reads from body.
//
// net/http has only been given what a whole head needs, so it does not get to
// body while it parses; if it did, body would fail, not block: see pipe.detached.
func readHead(head []byte, body io.Reader, req *http.Request) (*http.Response, error) {
	resp, err := http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(head), body)), req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAnswer, err)
	}
	return resp, nil
}

// newRequest returns the request for u and its bytes.
func newRequest(u *url.URL, c *Config) (*http.Request, []byte, error) {
	method := http.MethodGet
	if c.Head {
		method = http.MethodHead
	}
	req, err := http.NewRequest(method, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	req.Close = true // "Connection: close": one connection for one request
	req.Header.Set("User-Agent", c.UserAgent)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Accept-Encoding", "identity") // bodies are stored as they are
	if u.User != nil {
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
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

// redirected returns where resp sends us, and nil if nowhere.
func redirected(resp *http.Response) (*url.URL, error) {
	location := strings.TrimSpace(resp.Header.Get("Location"))
	if location == "" || !redirects(resp.StatusCode) {
		return nil, nil
	}
	u, err := resp.Request.URL.Parse(encoded(location))
	if err != nil {
		return nil, fmt.Errorf("bad Location %q", location)
	}
	u.Fragment = ""
	return u, acceptable(u)
}
