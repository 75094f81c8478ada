package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

// webDir makes a directory with the file "large", of that many bytes of noise, and "small", which has "hello".
func webDir(t *testing.T, large int) (dir string) {
	t.Helper()
	dir = testkit.TempDir(t)
	for name, b := range map[string][]byte{"large": noise(large), "small": []byte("hello")} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// webClient returns a client of the server at an address of that network, which trusts any certificate.
func webClient(t *testing.T, network, at string, h2 bool) *http.Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, at)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: h2,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: servePatience}
}

// get returns the response to a request, and its body. headers are pairs of name and value.
func get(t *testing.T, client *http.Client, method, url string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

// Files are served whole and in parts, over TCP and Unix sockets, without TLS and with it, by HTTP/1.1 and HTTP/2.
func TestServeHTTP(t *testing.T) {
	const size = 3 << 20
	for name, c := range map[string]struct {
		network, scheme string
		h2              bool
		proto           string
	}{
		"tcp":      {"tcp", "http", false, "HTTP/1.1"},
		"unix":     {"unix", "http", false, "HTTP/1.1"},
		"tls":      {"tcp", "https", false, "HTTP/1.1"},
		"tls-h2":   {"tcp", "https", true, "HTTP/2.0"},
		"unix-tls": {"unix", "https", true, "HTTP/2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			dir, listen := webDir(t, size), "127.0.0.1:0"
			if c.network == "unix" {
				testkit.SkipOnWine(t, "it has no Unix sockets")
				listen = "unix://" + filepath.Join(testkit.TempDir(t), "s")
			}
			args := []string{"http", dir, "--loops", "2", "-l", listen}
			if c.scheme == "https" {
				args = append(args, "--tls-self-signed")
			}
			s := startServe(t, args...)
			client := webClient(t, c.network, s.where[0], c.h2)
			url := c.scheme + "://localhost/"
			whole, b := get(t, client, "GET", url+"large")
			if whole.Proto != c.proto || whole.StatusCode != 200 || !bytes.Equal(b, noise(size)) {
				t.Errorf("%s %d, %d bytes, want %s and %d; or they differ", whole.Proto, whole.StatusCode, len(b), c.proto, size)
			}
			if r, b := get(t, client, "GET", url+"large", "Range", "bytes=1000000-2000000"); r.StatusCode != 206 || !bytes.Equal(b, noise(size)[1000000:2000001]) {
				t.Errorf("a range: %d, %d bytes", r.StatusCode, len(b))
			}
			for header, value := range map[string]string{"If-None-Match": whole.Header.Get("Etag"), "If-Modified-Since": whole.Header.Get("Last-Modified")} {
				if r, b := get(t, client, "GET", url+"large", header, value); r.StatusCode != 304 || len(b) != 0 {
					t.Errorf("%s: %d, %d bytes", header, r.StatusCode, len(b))
				}
			}
			if r, b := get(t, client, "HEAD", url+"large"); r.StatusCode != 200 || r.ContentLength != size || len(b) != 0 {
				t.Errorf("HEAD: %d, length %d", r.StatusCode, r.ContentLength)
			}
			if r, b := get(t, client, "GET", url+"none"); r.StatusCode != 404 || string(b) != "404 page not found\n" {
				t.Errorf("an unknown file: %d %q", r.StatusCode, b)
			}
			client.CloseIdleConnections()
			if status := s.end(); status != exitOK {
				t.Errorf("status %d\n%s", status, s.err)
			}
		})
	}
}

// All listeners of a server are served, with TLS and without.
func TestServeHTTPListeners(t *testing.T) {
	for scheme, flags := range map[string][]string{"http": nil, "https": {"--tls-self-signed"}} {
		s := startServe(t, append([]string{"http", webDir(t, 0), "-l", "127.0.0.1:0", "-l", "127.0.0.1:0", "-l", "127.0.0.1:0"}, flags...)...)
		for _, at := range s.where {
			client := webClient(t, "tcp", at, false)
			if r, b := get(t, client, "GET", scheme+"://h/small"); r.StatusCode != 200 || string(b) != "hello" {
				t.Errorf("%s://%s: %d %q", scheme, at, r.StatusCode, b)
			}
			client.CloseIdleConnections()
		}
		if status := s.end(); status != exitOK || len(s.where) != 3 {
			t.Errorf("status %d, %v\n%s", status, s.where, s.err)
		}
	}
}

// The line has the URL; that of a self-signed certificate has the fingerprint of what clients get.
func TestServeHTTPLine(t *testing.T) {
	dir := webDir(t, 0)
	s := startServe(t, "http", dir, "-l", "127.0.0.1:0", "--loops", "1")
	if want := regexp.MustCompile(`^http on http://127\.0\.0\.1:\d+ by [a-z]+, 1 loop\n$`); !want.MatchString(s.line) {
		t.Errorf("line %q, want a match of %v", s.line, want)
	}
	s = startServe(t, "http", dir, "-l", "127.0.0.1:0", "--tls-self-signed")
	c, err := tls.Dial("tcp", s.where[0], &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	leaf := c.ConnectionState().PeerCertificates[0]
	fingerprint := strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(leaf.Raw)), " ", ":")
	if !strings.HasPrefix(s.line, "http on https://127.0.0.1:") || !strings.Contains(s.line, "; self-signed certificate, SHA-256 fingerprint "+fingerprint) {
		t.Errorf("line %q, want the fingerprint %s", s.line, fingerprint)
	}
	if err := leaf.VerifyHostname("127.0.0.1"); err != nil {
		t.Error(err)
	}
}

// A download that is in progress when the server is stopped is completed; an idle connection is closed at once.
func TestServeHTTPDrains(t *testing.T) {
	const size = 24 << 20 // more than the kernel and the watermark hold
	s := startServe(t, "http", webDir(t, size), "-l", "127.0.0.1:0")
	idle, busy := connect(t, "tcp", s.where[0]), connect(t, "tcp", s.where[0])
	ask := func(c net.Conn, path string) (*http.Response, *bufio.Reader) {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
		in := bufio.NewReader(c)
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r, in
	}
	small, idleIn := ask(idle, "/small")
	if b, err := io.ReadAll(small.Body); err != nil || string(b) != "hello" {
		t.Fatalf("%q, %v", b, err)
	}
	large, _ := ask(busy, "/large")
	s.stop()
	waitRefused(t, s.where[0])
	if b, err := io.ReadAll(idleIn); err != nil || len(b) != 0 {
		t.Errorf("the idle connection: %q, %v, want its end", b, err)
	}
	if b, err := io.ReadAll(large.Body); err != nil || !bytes.Equal(b, noise(size)) {
		t.Errorf("received %d bytes, want %d; or they differ: %v", len(b), size, err)
	}
	idle.Close()
	busy.Close()
	if status := s.end(); status != exitOK {
		t.Errorf("status %d\n%s", status, s.err)
	}
}

// A client that does not read is cut off after --drain, and the exit status is exitFailed.
func TestServeHTTPDrainEnds(t *testing.T) {
	s := startServe(t, "http", webDir(t, 24<<20), "-l", "127.0.0.1:0", "--drain", "100ms", "--metrics", "127.0.0.1:0")
	c := connect(t, "tcp", s.where[0])
	io.WriteString(c, "GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
	waitFor(t, s, "pollux_unsent_bytes", func(v float64) bool { return v > 0 })
	if status := s.end(); status != exitFailed || !strings.Contains(s.err.String(), "closed 1 connection that did not finish within 100ms\n") {
		t.Errorf("status %d\n%s", status, s.err)
	}
}

// Limits on connections and idle times hold; failed handshakes are counted, and not logged.
func TestServeHTTPLimits(t *testing.T) {
	s := startServe(t, "http", webDir(t, 0), "-l", "127.0.0.1:0", "--max-conns", "1", "--refuse", "--idle-timeout", "100ms")
	first := connect(t, "tcp", s.where[0])
	io.WriteString(first, "GET /small HTTP/1.1\r\nHost: h\r\n\r\n")
	in := bufio.NewReader(first)
	if r, err := http.ReadResponse(in, nil); err != nil || r.StatusCode != 200 {
		t.Fatal(err)
	}
	if second, err := net.Dial("tcp", s.where[0]); err == nil { // the reset may arrive before
		defer second.Close()
		second.SetDeadline(time.Now().Add(servePatience))
		if _, err := second.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the second connection: %v", err)
		}
	}
	if b, err := io.ReadAll(in); err != nil || string(b) != "hello" {
		t.Errorf("the idle connection: %q, %v, want the body and the end", b, err)
	}
	secure := startServe(t, "http", webDir(t, 0), "-l", "127.0.0.1:0", "--tls-self-signed", "--metrics", "127.0.0.1:0")
	c := connect(t, "tcp", secure.where[0])
	io.WriteString(c, "nonsense\r\n\r\n")
	io.ReadAll(c)
	waitFor(t, secure, "pollux_tls_handshake_errors_total", func(v float64) bool { return v == 1 })
	if secure.end(); strings.Contains(secure.err.String(), "handshake") {
		t.Errorf("%s", secure.err)
	}
}

// SIGHUP reads the certificate again. A pair that is broken leaves the previous one in use, and one line gives the
// reason.
func TestServeReload(t *testing.T) {
	dir := webDir(t, 0)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key)
	s := startServe(t, "http", dir, "-l", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	first := certificateOf(t, s.where[0])
	if err := os.WriteFile(key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !s.hangUp() {
		t.Fatal("SIGHUP ends the server")
	}
	want := "pollux: reload the certificate: private key file " + key + ": it has no PEM block; "
	if err := s.err.String(); strings.Count(err, "\n") != 1 || !strings.HasPrefix(err, want) || !strings.HasSuffix(err, "; the previous one stays in use\n") {
		t.Errorf("want one line %q…\n%s", want, err)
	}
	if !bytes.Equal(certificateOf(t, s.where[0]), first) {
		t.Error("the previous certificate is not in use any more")
	}
	writePair(t, cert, key)
	if !s.hangUp() || bytes.Equal(certificateOf(t, s.where[0]), first) {
		t.Error("the new certificate is not in use")
	}
	if err := s.err.String(); strings.Count(err, "\n") != 2 || !strings.Contains(err, "\npollux: the certificate was reloaded: SHA-256 ") {
		t.Errorf("%s", err)
	}
	self := startServe(t, "http", dir, "-l", "127.0.0.1:0", "--tls-self-signed")
	if self.hangUp() {
		t.Error("SIGHUP does not end a server without certificate files")
	}
}

// certificateOf returns the certificate of the server at an address.
func certificateOf(t *testing.T, at string) []byte {
	t.Helper()
	c, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Raw
}

// curl returns what curl prints, or skips the test.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	out, err := exec.Command(path, append([]string{"-sS", "--max-time", fmt.Sprint(servePatience.Seconds())}, args...)...).CombinedOutput()
	if err != nil {
		t.Errorf("curl %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// curl gets what it asks for: ranges, conditions, HEAD, several requests on one connection, an answer to
// Expect: 100-continue, and HTTP/2.
func TestServeHTTPCurl(t *testing.T) {
	const size = 300_000
	dir := webDir(t, size)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key)
	plain := startServe(t, "http", dir, "-l", "127.0.0.1:0")
	secure := startServe(t, "http", dir, "-l", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	http1, https := "http://"+plain.where[0]+"/", "https://"+secure.where[0]+"/"
	saved := filepath.Join(testkit.TempDir(t), "saved")
	h2 := "HTTP/2 "
	if !strings.Contains(curl(t, "--version"), "HTTP2") {
		t.Log("curl has no HTTP/2: HTTP/1.1 over TLS is tested instead")
		h2 = "HTTP/1.1 "
	}
	for _, c := range []struct {
		what string
		args []string
		want string
	}{
		{"a range", []string{"-r", "1-3", "-w", " %{http_code}", http1 + "small"}, "ell 206"},
		{"a tail", []string{"-r", "-2", "-w", " %{http_code}", http1 + "small"}, "lo 206"},
		{"an impossible range", []string{"-r", "9-", "-o", saved, "-w", "%{http_code}", http1 + "small"}, "416"},
		{"If-Modified-Since", []string{"-z", filepath.Join(dir, "small"), "-w", "%{http_code}", http1 + "small"}, "304"},
		{"HEAD", []string{"-I", http1 + "large"}, "Content-Length: 300000"},
		{"keep-alive", []string{"-o", saved, "-o", saved, "-w", "%{num_connects} ", http1 + "small", http1 + "large"}, "1 0 "},
		{"Expect", []string{"-H", "Expect: 100-continue", "-d", "x", "-w", "%{http_code}", http1 + "small"}, "405"},
		{"an upload", []string{"-T", filepath.Join(dir, "large"), "-w", "%{http_code}", http1 + "up"}, "405"},
		{"a path out of the directory", []string{"--path-as-is", "-w", "%{http_code}", http1 + "../" + filepath.Base(dir) + "/small"}, "404"},
		{"TLS", []string{"--cacert", cert, "-r", "0-1", https + "small"}, "he"},
		{"HTTP/2", []string{"-I", "--http2", "--cacert", cert, https + "large"}, h2 + "200"},
		{"HTTP/2, two at a time", []string{"-Z", "--cacert", cert, "-o", saved + "1", "-o", saved + "2", "-w", "%{http_code} ", https + "large", https + "large"}, "200 200 "},
	} {
		if got := curl(t, c.args...); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	head := curl(t, "-I", http1+"small")
	tag := regexp.MustCompile(`(?i)etag: (\S+)`).FindStringSubmatch(head)
	if tag == nil {
		t.Fatalf("no entity tag: %s", head)
	}
	if got := curl(t, "-H", "If-None-Match: "+tag[1], "-w", "%{http_code}", http1+"small"); got != "304" {
		t.Errorf("If-None-Match: %q", got)
	}
	for _, name := range []string{"1", "2"} {
		if b, err := os.ReadFile(saved + name); err != nil || !bytes.Equal(b, noise(size)) {
			t.Errorf("received %d bytes, want %d; or they differ: %v", len(b), size, err)
		}
	}
}
