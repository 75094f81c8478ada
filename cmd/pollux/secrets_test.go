package main

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/cmd/pollux/internal/faultserver"
	"github.com/pollux-io/pollux/internal/testkit"
)

// No message and no file name contains the user name or the password of a URL, on success or
// any failure.
func TestFetchHidesCredentials(t *testing.T) {
	testkit.CheckLeaks(t)
	const login = "al1ce:s3cr3t"
	to := func(location string) func(*net.TCPConn) {
		return func(c *net.TCPConn) {
			fmt.Fprintf(c, "HTTP/1.1 302 X\r\nLocation: %s\r\n\r\n", location)
		}
	}
	text := func(s string) func(*net.TCPConn) { return func(c *net.TCPConn) { io.WriteString(c, s) } }
	answers := map[string]func(*net.TCPConn){
		"/ok":      text("HTTP/1.1 200 OK\r\n\r\nhello"),
		"/401":     text("HTTP/1.1 401 X\r\n\r\n"),
		"/500":     text("HTTP/1.1 500 X\r\n\r\n"),
		"/short":   text("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
		"/garbage": text("HTTP/1.1 200 OK\r\nhttp//" + login + "@h\r\n\r\n"),
		"/loop":    to("/loop"),
		"/own":     func(c *net.TCPConn) { to("http://" + login + "@" + c.LocalAddr().String() + "/ok")(c) },
		"/ftp":     to("ftp://" + login + "@h/"),
		"/bad":     to("http://" + login + "@h:x/"),
		"/unknown": to("http://" + login + "@nobody.invalid/"),
	}
	s := faultserver.Answer(t, func(c *net.TCPConn, r *http.Request) {
		if answer := answers[r.URL.Path]; answer != nil {
			answer(c)
		}
	})
	with := strings.Replace(s.URL(""), "//", "//"+login+"@", 1)
	urls := []string{strings.Replace(with, "http:", "https:", 1) + "/ok"}
	for path := range answers {
		urls = append(urls, with+path, with+path+"?u=http://"+login+"@h/")
	}
	refused := []string{
		"https://" + login + "@h:x/", "ftp://" + login + "@h/", "http://" + login + "@h:x/", "http://" + login + "@[::1/", login + "@h",
		"http://al1ce:s3cr/3t@h/", "http://" + login + "%40h/", "http://" + login + "@h:99999/", "http://" + login + "@\u0300x/", "http://" + login,
		"http://al1ce:%s3cr3t@h/",
	}
	for _, args := range [][]string{
		append([]string{"fetch", "-r", "0"}, append(urls, refused...)...),
		append([]string{"fetch", "-r", "1", "-o", "DIR"}, append(urls, refused...)...),
		append([]string{"fetch", "-q", "-r", "0"}, urls...),
		append([]string{"fetch"}, refused...),
		{"fetch", "-r", "0", strings.Replace(faultserver.Refusing(t), "//", "//"+login+"@", 1)},
		{"fetch", "-i", with + "/list"},
		{"fetch", "-i", login + "@h:list", with},
		{"fetch", "-o", with + "/dir", with},
		{"fetch", "-p", with},
		{"fetch", "-p" + with},
		{"fetch", "--timeout=" + with},
		{"fetch", "--" + with},
		{"fetch", "--nonsense=" + with},
		{with},
		{login + "@h"},
		{"demo", with},
		{"doctor", "-c", with},
		{"serve", with},
		{"serve", "echo", "--listen", with},
	} {
		dir := testkit.TempDir(t)
		for i := range args {
			if args[i] == "DIR" {
				args[i] = dir
			}
		}
		_, out, err := pollux(t, "", args...)
		shown := out + err
		filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			shown += strings.TrimPrefix(path, dir)
			return err
		})
		for _, secret := range []string{"al1ce", "s3cr", "r3t"} {
			for line := range strings.Lines(shown) {
				// Without an @, the part before a colon may be the host.
				if strings.Contains(line, secret) && !strings.Contains(line, "http://al1ce:***") {
					t.Errorf("%.60q prints %s", args, line)
				}
			}
		}
	}
}

// Invalid URLs are wrong usage if there are no valid ones, and failures otherwise; if there
// are no valid ones, no directory is created.
func TestFetchRefusedURLs(t *testing.T) {
	testkit.CheckLeaks(t)
	s := faultserver.Text(t, "HTTP/1.1 200 OK\r\n\r\nhello")
	redirecting := faultserver.Text(t, "HTTP/1.1 302 X\r\nLocation: ftp://example.org/\r\n\r\n")
	for _, c := range []struct {
		args   []string
		in     string
		status int
		lines  int // on standard error
	}{
		{[]string{"foo"}, "", exitUsage, 1},
		{[]string{"ftp://example.org/"}, "", exitUsage, 1},
		{[]string{"foo", "ftp://example.org/", "http://"}, "", exitUsage, 3},
		{[]string{"-i", "-"}, "foo\n# comment\nftp://example.org/\n", exitUsage, 2},
		{[]string{"-q", "foo", "bar"}, "", exitUsage, 2},
		{[]string{"-q", "foo", s.URL("/")}, "", exitFailed, 1},
		{[]string{"-q", "-i", "-", s.URL("/")}, "ftp://example.org/\n", exitFailed, 1},
		{[]string{"-q", redirecting.URL("/")}, "", exitFailed, 1},
	} {
		dir := filepath.Join(testkit.TempDir(t), "out")
		status, out, err := pollux(t, c.in, append([]string{"fetch", "-o", dir}, c.args...)...)
		if status != c.status || out != "" || strings.Count(err, "\n") != c.lines {
			t.Errorf("%q: status %d, want %d and %d lines\n%s%s", c.args, status, c.status, c.lines, out, err)
		}
		if made, _ := filepath.Glob(dir); (len(made) > 0) != (status == exitFailed) {
			t.Errorf("%q: status %d, created %q", c.args, status, made)
		}
	}
}
