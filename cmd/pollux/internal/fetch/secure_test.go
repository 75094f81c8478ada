package fetch

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/cmd/pollux/internal/faultserver"
)

// secureBench is newBench with an authority that is trusted, for a server with the name name.test.
func secureBench(t *testing.T) (*bench, *faultserver.Authority) {
	b, a := newBench(t), faultserver.NewAuthority(t)
	b.Roots, b.hosts = a.Pool, hostsFile("name.test", "127.0.0.1")
	return b, a
}

// at returns the URL of path at a server under another host.
func at(host string, s *faultserver.Server, path string) string {
	_, port, _ := net.SplitHostPort(s.Addr)
	return "https://" + net.JoinHostPort(host, port) + path
}

func serverConfig(c tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c}, NextProtos: []string{"h2", "http/1.1"}}
}

// Bodies of every framing arrive over each version of TLS: by name, with SNI, and by address. The protocol is HTTP/1.1,
// though the server prefers HTTP/2.
func TestHTTPS(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1<<16)
	answers := map[string]string{
		"length":      "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + long,
		"chunked":     chunkedHead + "100000\r\n" + long + "\r\n0\r\n\r\n",
		"until close": "HTTP/1.1 200 OK\r\n\r\n" + long,
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for framing, answer := range answers {
			for host, sni := range map[string]string{"name.test": "name.test", "NAME.test.": "NAME.test", "127.0.0.1": "", "localhost": "localhost"} {
				b, a := secureBench(t)
				config := serverConfig(a.Issue(t, nil))
				config.MinVersion, config.MaxVersion = version, version
				states := make(chan tls.ConnectionState, 1)
				s := faultserver.TLS(t, config, func(c *tls.Conn, r *http.Request) {
					states <- c.ConnectionState()
					io.WriteString(c, answer)
				})
				r, got := b.one(t, at(host, s, "/"))
				if got != long || r.Status != 200 || r.Tries != 1 || r.Downgrade != nil {
					t.Errorf("%s, %s: %d bytes, status %d, %d tries", framing, host, len(got), r.Status, r.Tries)
				}
				if state := <-states; state.NegotiatedProtocol != "http/1.1" || state.ServerName != sni || state.Version != version {
					t.Errorf("%s: protocol %q, SNI %q, version %x", host, state.NegotiatedProtocol, state.ServerName, state.Version)
				}
			}
		}
	}
}

// The default ports are 80 and 443.
func TestDefaultPorts(t *testing.T) {
	for text, want := range map[string]uint16{"http://h/": 80, "https://h/": 443, "HTTPS://h:/": 443, "https://h:80/": 80, "http://h:443/": 443} {
		job := NewJob(0, text)
		if job.Err != nil {
			t.Fatal(job.Err)
		}
		if p, err := port(job.URL); p != want || err != nil {
			t.Errorf("%s: port %d, %v", text, p, err)
		}
	}
}

// An international host is looked up, verified and requested in its ASCII form.
func TestInternationalHost(t *testing.T) {
	const ascii = "xn--bcher-kva.test"
	b, a := secureBench(t)
	b.hosts = hostsFile(ascii, "127.0.0.1")
	names := make(chan string, 2)
	s := faultserver.TLS(t, serverConfig(a.IssueFor(t, ascii)), func(c *tls.Conn, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.Host)
		names <- c.ConnectionState().ServerName + " " + host
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
	})
	for _, host := range []string{"b\u00fccher.test", "B%C3%9Ccher.TEST"} {
		if _, got := b.one(t, at(host, s, "/")); got != "hello" {
			t.Errorf("body %q", got)
		}
		if got := <-names; got != ascii+" "+ascii {
			t.Errorf("%s: SNI and Host %q", host, got)
		}
	}
}

// The certificate of an address with a zone is that of the address.
func TestCertificateName(t *testing.T) {
	for host, want := range map[string]string{"fe80::1%eth0": "fe80::1", "0:0::1": "::1", "192.0.2.1": "192.0.2.1", "h.test.": "h.test."} {
		if got := certificateName(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

// Sessions are resumed: the second handshake with a host needs no certificate.
func TestSessionsAreResumed(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		b, a := secureBench(t)
		b.Parallel = 1
		config := serverConfig(a.Issue(t, nil))
		config.MaxVersion = version
		var resumed atomic.Int32
		s := faultserver.TLS(t, config, func(c *tls.Conn, _ *http.Request) {
			if c.ConnectionState().DidResume {
				resumed.Add(1)
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
		})
		for _, r := range b.run(t, at("name.test", s, "/"), at("name.test", s, "/"), at("name.test", s, "/")) {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
		if n := resumed.Load(); n != 2 {
			t.Errorf("version %x: %d sessions of 2 are resumed", version, n)
		}
	}
}

// An end without close_notify ends no answer, except one whose end is known. That is a failure which is tried again.
func TestTruncatedAnswer(t *testing.T) {
	for answer, ok := range map[string]bool{
		"HTTP/1.1 200 OK\r\n\r\nhello":                      false,
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello": false,
		"HTTP/1.1 200 OK\r\nContent-Le":                     false,
		chunkedHead + "5\r\nhello\r\n":                      false,
		"":                                                  false,
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello":    true,
		chunkedHead + "5\r\nhello\r\n0\r\n\r\n":                true,
		"HTTP/1.1 302 X\r\nLocation: /end\r\n\r\ntruncated":    true,
		"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n": true,
	} {
		b, a := secureBench(t)
		b.Retries = 1
		s := faultserver.TLS(t, serverConfig(a.Issue(t, nil)), func(c *tls.Conn, r *http.Request) {
			if r.URL.Path == "/end" {
				io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
				return
			}
			io.WriteString(c, answer)
			c.NetConn().Close()
		})
		r := b.run(t, at("name.test", s, "/"))[0]
		if ok {
			if r.Err != nil || r.Tries != 1 {
				t.Errorf("%q: %v after %d tries", answer, r.Err, r.Tries)
			}
			continue
		}
		if r.Err == nil || !strings.Contains(r.Err.Error(), "the server ended it without TLS's close_notify") || r.Tries != 2 || len(b.memory.whole) != 0 {
			t.Errorf("%q: %v after %d tries, %d bodies stored", answer, r.Err, r.Tries, len(b.memory.whole))
		}
	}
}

// Redirects between http and https are followed. The first that leaves TLS is in the result, and no redirect takes the
// credentials to another scheme.
func TestRedirectsBetweenSchemes(t *testing.T) {
	b, a := secureBench(t)
	var plain, secure *faultserver.Server
	var log asked
	answer := func(c io.Writer, r *http.Request) {
		log.add(r)
		to := map[string]string{
			"/up": at("name.test", secure, "/end"), "/down": plain.URL("/end"), "/down-up": plain.URL("/up"), "/down-down": plain.URL("/again"),
			"/again": "/end", "/same": "/end", "/zigzag": plain.URL("/back"), "/back": at("name.test", secure, "/down"),
		}[r.URL.Path]
		if to != "" {
			fmt.Fprintf(c, "HTTP/1.1 302 X\r\nLocation: %s\r\n\r\n", to)
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	}
	plain = faultserver.Answer(t, func(c *net.TCPConn, r *http.Request) { answer(c, r) })
	secure = faultserver.TLS(t, serverConfig(a.Issue(t, nil)), func(c *tls.Conn, r *http.Request) { answer(c, r) })
	with := func(url string) string { return strings.Replace(url, "//", "//al1ce:s3cret@", 1) }
	for url, want := range map[string]struct{ downgrade, asked string }{
		with(at("name.test", secure, "/same")):      {"", "/same al1ce:s3cret, /end al1ce:s3cret"},
		with(plain.URL("/same")):                    {"", "/same al1ce:s3cret, /end al1ce:s3cret"},
		with(at("name.test", secure, "/zigzag")):    {plain.URL("/back"), "/zigzag al1ce:s3cret, /back nobody:, /down nobody:, /end nobody:"},
		with(plain.URL("/up")):                      {"", "/up al1ce:s3cret, /end nobody:"},
		with(at("name.test", secure, "/down")):      {plain.URL("/end"), "/down al1ce:s3cret, /end nobody:"},
		with(at("name.test", secure, "/down-up")):   {plain.URL("/up"), "/down-up al1ce:s3cret, /up nobody:, /end nobody:"},
		with(at("name.test", secure, "/down-down")): {plain.URL("/again"), "/down-down al1ce:s3cret, /again nobody:, /end nobody:"},
	} {
		r, got := b.one(t, url)
		downgrade := ""
		if r.Downgrade != nil {
			downgrade = r.Downgrade.String()
		}
		if got != "hello" || downgrade != want.downgrade {
			t.Errorf("%s: body %q, downgrade %q, want %q", url, got, downgrade, want.downgrade)
		}
		if got := log.take(); got != want.asked {
			t.Errorf("%s: asked %q, want %q", url, got, want.asked)
		}
	}
}

// Without the verification of certificates any is accepted, also for another host.
func TestInsecure(t *testing.T) {
	b, a := secureBench(t)
	b.Roots, b.Insecure = nil, true
	s := faultserver.TLS(t, serverConfig(a.IssueFor(t, "other.test")), func(c *tls.Conn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
	})
	if _, got := b.one(t, at("name.test", s, "/")); got != "hello" {
		t.Errorf("body %q", got)
	}
}

// Many connections are in their handshakes at the same time; a slow body delays no other.
func TestManyHTTPS(t *testing.T) {
	b, a := secureBench(t)
	body := bytes.Repeat([]byte("x"), 100<<10)
	s := faultserver.TLS(t, serverConfig(a.Issue(t, nil)), func(c *tls.Conn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		c.Write(body)
	})
	urls := make([]string, 100)
	for i := range urls {
		urls[i] = at("name.test", s, fmt.Sprintf("/%d", i))
	}
	for i, r := range b.run(t, urls...) {
		if r.Err != nil || !bytes.Equal(b.memory.whole[i], body) {
			t.Errorf("%s: %v, %d bytes", r.Job.Text, r.Err, len(b.memory.whole[i]))
		}
	}
}
