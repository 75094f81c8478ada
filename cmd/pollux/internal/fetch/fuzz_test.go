package fetch

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
)

var fuzzConfig = Config{UserAgent: "test"}

// Any text is either refused as a URL by a message of one line, or results in a request that
// parses back to the same URL; user name and password are in neither.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{
		"http://h/", "HTTP://al1ce:s3cret@H:80/a b?c#d", "http://[fe80::1%25lo]:8080/", "http://h/%zz", "http://a:b/c@d/",
		"http://h\x00/", "https://h/", "http:///x", "http://h:99999/", "//h/", "http://%41/", "http://h/\r\nX: y", "http://@h:/",
		"http://al1ce:%0d%0a@h/", "http://[::1", "http://h/../..//", "http://\u00e4/", "http://h?x", "http://h/%2F/?a=http://b:c@d/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		job := NewJob(0, text)
		if job.Err != nil {
			if s := job.Err.Error(); strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) || len(s) > 4*len(text)+400 {
				t.Errorf("%q: error %q", text, s)
			}
			return
		}
		u := job.URL
		if u.User != nil || u.Hostname() == "" {
			t.Fatalf("%q: %#v", text, u)
		}
		checkRequest(t, text, u, job.credentials)
	})
}

// checkRequest checks that a strict reader accepts the request for u.
func checkRequest(t *testing.T, text string, u *url.URL, c credentials) {
	t.Helper()
	_, b, err := newRequest(u, c, &fuzzConfig)
	if err != nil {
		return // refused in time
	}
	line, _, _ := bytes.Cut(b, []byte("\r\n"))
	if fields := bytes.Fields(line); len(fields) != 3 || bytes.Count(line, []byte(" ")) != 2 || !printable(line) {
		t.Errorf("%q: request line %q", text, line)
	}
	in := bufio.NewReader(bytes.NewReader(b))
	r, err := http.ReadRequest(in)
	if err != nil || in.Buffered() > 0 {
		t.Errorf("%q: request %q: %v, %d bytes behind it", text, b, err, in.Buffered())
		return
	}
	got, _, ok := r.BasicAuth()
	if ok != (c != nil) {
		t.Errorf("%q: request %q", text, b)
	}
	if c != nil {
		user, _ := c()
		if before, _, _ := strings.Cut(user, ":"); got != before {
			t.Errorf("%q: user %q, want %q", text, got, user)
		}
	}
}

func printable(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' || r >= 0x7f })
}

// No message contains the part before the last @ of a URL, unless it belongs to a path.
func FuzzCredentials(f *testing.F) {
	f.Add("http://al1ce:", "@h/")
	f.Add("http://", ":x@h:y")
	f.Add("", "@")
	f.Add("https://a/", "%40h/%zz")
	f.Add("http://[", "]@h/")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "S3CRET"
		if !strings.Contains(after, "@") || strings.Contains(after, secret) || strings.Contains(before, secret) {
			return
		}
		text := before + secret + after
		scheme, _, _ := strings.Cut(text, ":")
		job := NewJob(0, text)
		shown := job.Text
		if job.Err != nil {
			shown += job.Err.Error()
		} else if u, err := url.Parse(encoded(text)); err == nil && u.User != nil && strings.Contains(fmt.Sprint(u.User), secret) {
			shown += job.URL.Host + job.URL.Scheme
		}
		if strings.Contains(shown, secret) && !strings.Contains(scheme, secret) {
			t.Errorf("%q: %q", text, shown)
		}
	})
}

// A redirect is refused, or leads to a valid URL; credentials are kept only at the same
// origin.
func FuzzRedirect(f *testing.F) {
	for _, seed := range []string{
		"/x", "//h/x", "http://h:80/", "http://al1ce:s3cret@i/", "https://h/", "http:x", "?q", "#f", "..//\\h", "http://[::1%25lo]/",
		"//@h", "http://H/", "http://h./", "\t/x", "http://h:080/", "http://h:/", "/%zz", "//", "http://\u017f/",
	} {
		f.Add(seed)
	}
	from := NewJob(0, "http://al1ce:s3cret@h/a/b?c")
	req := &http.Request{Method: http.MethodGet, URL: from.URL}
	f.Fuzz(func(t *testing.T, location string) {
		resp := &http.Response{StatusCode: 302, Header: http.Header{"Location": {location}}, Request: req}
		u, c, err := redirected(resp, from.credentials)
		if err != nil {
			if s := (&Error{Step: "x", Err: err}).Error(); strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q: error %q", location, s)
			}
			return
		}
		if u == nil {
			return
		}
		if c != nil {
			own := strings.Contains(location, "@")
			if _, password := c(); password == "s3cret" && !own && !(strings.EqualFold(u.Hostname(), "h") && (u.Port() == "" || strings.TrimLeft(u.Port(), "0") == "80")) {
				t.Errorf("%q: the password is sent to %s", location, u)
			}
		}
		if u.User != nil || u.Fragment != "" {
			t.Errorf("%q: %#v", location, u)
		}
		checkRequest(t, location, u, c)
	})
}

// A head is refused by a message of one line, or has one framing; reading it consumes
// nothing after it, and retryAfter is never negative.
func FuzzHead(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.0 200\nTransfer-Encoding: chunked\n\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n5\r\nhello", "HTTP/1.1 200 OK\r\nX: y\r\n \r\n z\r\n\r\n",
		"HTTP/1.1 204 X\r\nTrailer: Content-Length\r\n\r\n", "HTTP/1.1 302 X\r\nLocation: //\r\n\r\n", "HTTP/1.1 429 X\r\nRetry-After: -9\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: +5\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 503 X\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n", "HTTP/1.1 +20 \r\n\r\n", "\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	req := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Host: "h", Path: "/"}}
	f.Fuzz(func(t *testing.T, b []byte) {
		end, whole := headEnd(b, 0)
		if !whole {
			return
		}
		for n, scanned := 1, 0; ; n++ { // found byte by byte, too
			if e, w := headEnd(b[:n], scanned); w {
				if e != end {
					t.Fatalf("%q: the head ends at %d, byte by byte at %d", b, end, e)
				}
				break
			}
			scanned = max(n-2, 0)
		}
		body := newPipe(&fakeSource{})
		resp, err := readHead(b[:end], body, req)
		if err != nil {
			s := answerFailure(req.URL, "read the answer of", err).Error()
			if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) || len(s) > 1000 {
				t.Errorf("%q: error %q", b[:end], s)
			}
			return
		}
		body.attach()
		body.put(b[end:])
		body.end(io.EOF)
		got, err := io.ReadAll(io.LimitReader(resp.Body, int64(len(b)+1)))
		chunked := len(resp.TransferEncoding) > 0
		allowed := resp.StatusCode >= 200 && resp.StatusCode != 204 && resp.StatusCode != 304
		switch rest := b[end:]; {
		case !allowed:
			if len(got) > 0 {
				t.Errorf("%q has a body: %q", b, got)
			}
		case chunked: // FuzzChunked looks at those
		case bytes.Contains(bytes.ToLower(b[:end]), []byte("\ntransfer-encoding")) || bytes.Contains(bytes.ToLower(b[:end]), []byte("\ncontent-length ")):
			t.Errorf("%q: its framing was ignored", b)
		case resp.ContentLength >= 0:
			if want := min(int(min(resp.ContentLength, 1<<30)), len(rest)); !bytes.Equal(got, rest[:want]) || (err == nil) != (int64(want) == resp.ContentLength) {
				t.Errorf("%q: body %q, error %v", b, got, err)
			}
		case !bytes.Equal(got, rest) || err != nil:
			t.Errorf("%q: body %q, error %v", b, got, err)
		}
		if d := retryAfter(resp, time.Now()); d < 0 || backOff(time.Second, 2, d) > maxBackOff {
			t.Errorf("%q: retry after %v", b[:end], d)
		}
		if u, _, err := redirected(resp, nil); err == nil && u != nil {
			checkRequest(t, string(b), u, nil)
		}
	})
}

// Chunks decode to their data, however they are split, and an incomplete sequence is
// an error. Any other text is an error, or decodes as a simple decoder of RFC 9112, 7.1,
// decodes it.
func FuzzChunked(f *testing.F) {
	f.Add([]byte("hello"), uint16(2), uint16(7))
	f.Add([]byte(""), uint16(1), uint16(0))
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\n"), uint16(3), uint16(1))
	f.Add([]byte("5;x=\"\r\n\"\r\nhello\r\n00\r\nA: b\r\n\r\nmore"), uint16(300), uint16(9))
	f.Add([]byte("ffffffffffffffff\r\n"), uint16(1), uint16(2))
	f.Add([]byte("5\nhello\n0\n\n"), uint16(1), uint16(2))
	f.Fuzz(func(t *testing.T, data []byte, size, cut uint16) {
		var b bytes.Buffer
		for rest := data; len(rest) > 0; {
			n := min(int(size)%(len(rest)+1)+1, len(rest))
			fmt.Fprintf(&b, "%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		b.WriteString("0\r\n\r\n")
		if got, err := unchunk(t, b.Bytes()); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%q: %q, %v", b.Bytes(), got, err)
		}
		short := b.Bytes()[:int(cut)%b.Len()]
		if got, err := unchunk(t, short); err == nil || !bytes.HasPrefix(data, got) {
			t.Errorf("%q: %q and no error", short, got)
		}
		if got, err := unchunk(t, data); err == nil {
			if want, ok := plainChunks(data); !ok || !bytes.Equal(got, want) {
				t.Errorf("%q: %q, want %q, %v", data, got, want, ok)
			}
		}
	})
}

// unchunk decodes b as fetch does.
func unchunk(t *testing.T, b []byte) ([]byte, error) {
	t.Helper()
	req := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Host: "h"}}
	body := newPipe(&fakeSource{})
	resp, err := readHead([]byte(chunkedHead), body, req)
	if err != nil {
		t.Fatal(err)
	}
	body.attach()
	body.put(b)
	body.end(io.EOF)
	return io.ReadAll(resp.Body)
}

// plainChunks is a second decoder, simple and slow.
func plainChunks(b []byte) (data []byte, ok bool) {
	for {
		line, rest, found := bytes.Cut(b, []byte("\n"))
		if !found {
			return data, false
		}
		digits, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimRight(digits, " \t\r")), 16, 31)
		if err != nil || uint64(len(rest)) < n+1 && n > 0 {
			return data, false
		}
		if n == 0 {
			return data, true
		}
		data = append(data, rest[:n]...)
		b = bytes.TrimPrefix(rest[n:], []byte("\r"))
		if !bytes.HasPrefix(b, []byte("\n")) {
			return data, false
		}
		b = b[1:]
	}
}
