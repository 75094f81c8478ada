package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/cmd/pollux/internal/faultserver"
	"github.com/pollux-io/pollux/internal/testkit"
)

// helloTLS starts a server with a certificate of a new authority, and returns its URL and the file of the authority.
func helloTLS(t *testing.T, edit func(*x509.Certificate)) (s *faultserver.Server, authority string) {
	a := faultserver.NewAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{a.Issue(t, edit)}}
	s = faultserver.TLS(t, config, func(c *tls.Conn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
	})
	return s, a.File(t, testkit.TempDir(t))
}

const insecureWarning = "pollux: --insecure: the certificates of https servers are not verified, so others may read and change what is sent and received\n"

// A certificate that the system does not trust is refused without --cacert or --insecure, which warns by one line, also with
// --quiet.
func TestFetchTrust(t *testing.T) {
	testkit.CheckLeaks(t)
	s, authority := helloTLS(t, nil)
	_, other := helloTLS(t, nil)
	const unknown = `the certificate is signed by an unknown authority, "CN=authority"; `
	for _, c := range []struct {
		flags  string
		status int
		err    string // the beginning of standard error behind "pollux: URL: set up TLS with HOST: "; all of it for a success
	}{
		{"", exitFailed, unknown},
		{"--cacert " + other, exitFailed, unknown},
		{"--cacert " + authority, exitOK, ""},
		{"--insecure", exitOK, insecureWarning},
		{"--insecure -q", exitOK, insecureWarning},
	} {
		status, out, err := pollux(t, "", strings.Fields("fetch -r 0 "+c.flags+" "+s.URL("/"))...)
		body := map[int]string{exitOK: "hello"}[status]
		if c.status == exitFailed {
			if strings.Count(err, "\n") != 1 {
				t.Errorf("%q: not one line: %s", c.flags, err)
			}
			err = strings.TrimPrefix(err, fmt.Sprintf("pollux: %s: set up TLS with %s: ", s.URL("/"), s.Addr))
			err = err[:min(len(err), len(c.err))]
		}
		if status != c.status || out != body || err != c.err {
			t.Errorf("%q: status %d, %q, %q; want %d, %q", c.flags, status, out, err, c.status, c.err)
		}
	}
}

// A redirect from https to http is followed with a warning on a line of its own, also with --quiet.
func TestFetchDowngrade(t *testing.T) {
	testkit.CheckLeaks(t)
	a := faultserver.NewAuthority(t)
	plain := faultserver.Answer(t, func(c *net.TCPConn, r *http.Request) {
		if r.URL.Path == "/gone" {
			io.WriteString(c, "HTTP/1.1 404 Not Found\r\n\r\n")
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
	})
	s := faultserver.TLS(t, &tls.Config{Certificates: []tls.Certificate{a.Issue(t, nil)}}, func(c *tls.Conn, r *http.Request) {
		fmt.Fprintf(c, "HTTP/1.1 302 X\r\nLocation: %s\r\n\r\n", strings.Replace(plain.URL(r.URL.Path), "//", "//al1ce:s3cret@", 1))
	})
	for path, want := range map[string]int{"/there": exitOK, "/gone": exitFailed} {
		status, _, err := pollux(t, "", "fetch", "-q", "-r", "0", "--cacert", a.File(t, testkit.TempDir(t)), s.URL(path))
		warning := "pollux: " + s.URL(path) + ": warning: it was redirected from https to " + plain.URL(path) + ", so others may have read and changed the answer\n"
		more, warned := strings.CutPrefix(err, warning)
		if status != want || !warned || strings.Count(more, "\n") != map[int]int{exitOK: 0, exitFailed: 1}[want] {
			t.Errorf("%s: status %d, %s", path, status, err)
		}
	}
}

// The error of a file with certificates names the file, and what is wrong with it.
func TestFetchCACertFile(t *testing.T) {
	testkit.CheckLeaks(t)
	dir := testkit.TempDir(t)
	a := faultserver.NewAuthority(t)
	certificate, key := faultserver.Files(t, dir, a.Issue(t, nil))
	whole, err := os.ReadFile(certificate)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	for file, want := range map[string]string{
		filepath.Join(dir, "missing"): "give the path of the file",
		dir:                           "give a file in PEM format",
		write("empty", " \n"):         "it is empty",
		write("text", "no PEM"):       "it has no PEM block; convert it",
		write("cut", string(whole[:len(whole)/2])): "its PEM blocks are damaged",
		key: "it has a private key; give certificates",
		write("request", "-----BEGIN X-----\n-----END X-----\n"): "its PEM blocks must be CERTIFICATE",
		write("second", string(whole)+damaged):                   "certificate 2 cannot be parsed",
		write("large", strings.Repeat("x", 1<<20+1)):             "it is larger than",
	} {
		status, out, err := pollux(t, "", "fetch", "--cacert", file, "https://127.0.0.1:1/")
		if status != exitUsage || out != "" || strings.Count(err, "\n") != 1 || !strings.HasPrefix(err, "pollux: --cacert: ") ||
			!strings.Contains(err, file) || !strings.Contains(err, want) {
			t.Errorf("status %d, %s, want %s", status, err, want)
		}
	}
}
