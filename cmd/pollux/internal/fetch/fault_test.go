package fetch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/faultserver"
	"github.com/pollux-io/pollux/internal/testkit"
)

// Each bad URL or server is reported by one line, and the good ones among them
// are fetched.
func TestBadAmongGood(t *testing.T) {
	b := newBench(t)
	b.servers = nameServer(t, func(name string) response {
		if name == "empty.test." {
			return noError
		}
		return noSuchName
	})
	good := faultserver.Text(t, "HTTP/1.1 200 OK\r\n\r\ngood").URL("/")
	open := func(text string) string {
		return faultserver.Answer(t, func(c *net.TCPConn, _ *http.Request) {
			io.WriteString(c, text)
			faultserver.Wait(c)
		}).URL("/")
	}
	silentlyGone := faultserver.Raw(t, func(*net.TCPConn) {}).URL("/")
	cases := []struct{ url, want string }{
		{"http://[::1", "read the URL"},
		{"http://a b/", "invalid character"},
		{"example.org", "does not begin with http://"},
		{"mailto:x@example.org", "does not begin with http://"},
		{"127.0.0.1:1/x", "does not begin with http://"},
		{"//127.0.0.1/x", "does not begin with http://"},
		{"http:///path", "has no host"},
		{"ftp://example.org/", `scheme "ftp" is neither http nor https`},
		{"http://example.org:99999/", "out of range"},
		{"http://\u0300ex:1/", "not a valid international name"},
		{"http://unknown.test/", "look up unknown.test: no such name; check the spelling"},
		{"http://empty.test/", "look up empty.test: the name has no address; check the spelling"},
		{faultserver.Refusing(t), "connection refused"},
		{"http://[fe80::1%25nowhere]/", `connect to [fe80::1%nowhere]:80: there is no network interface "nowhere"; check the zone`},
		{silentlyGone, "from|answer of"},
		{open("SSH-2.0-OpenSSH_9.6\r\n"), "not HTTP; check that this port speaks HTTP"},
		{open("HTTP/1.1 banana\r\n\r\n"), "malformed or not supported"},
		{open("HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), "malformed or not supported"},
		{open("HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n"), "malformed or not supported"},
		{open("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 997)+"\r\n", 100)), "longer than 64 KiB"},
		{open(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 20)), "more than 16 answers of class 1xx"},
		{open("HTTP/1.1 302 Found\r\nLocation: ftp://example.org/\r\n\r\n"), "neither http nor https"},
		{open("HTTP/1.1 302 Found\r\nLocation: http://%zz/\r\n\r\n"), "bad Location"},
		{open("HTTP/1.1 302 Found\r\n\r\n"), "status 302 Found, without a Location"},
		{open("HTTP/1.1 404 Not Found\r\n\r\n"), "status 404"},
		{open("HTTP/1.1 101 Switching Protocols\r\n\r\n"), "status 101"},
	}
	var urls []string
	for _, c := range cases {
		urls = append(urls, c.url, good)
	}
	for i, r := range b.run(t, urls...) {
		if i%2 == 1 {
			if r.Err != nil || string(b.memory.whole[i]) != "good" {
				t.Errorf("the good URL after %s: %v", urls[i-1], r.Err)
			}
			continue
		}
		want, also, _ := strings.Cut(cases[i/2].want, "|")
		if r.Err == nil || !strings.Contains(r.Err.Error(), want) && (also == "" || !strings.Contains(r.Err.Error(), also)) {
			t.Errorf("%s: error %q, want %q", r.Job.Text, r.Err, want)
		}
		if r.Err != nil && strings.Contains(r.Err.Error(), "malformed") && strings.Contains(r.Err.Error(), "check that this port") {
			t.Errorf("%s: error %q, but the port speaks HTTP", r.Job.Text, r.Err)
		}
		if r.Err != nil && strings.ContainsAny(r.Err.Error(), "\r\n\x1b") {
			t.Errorf("%s: error is not one plain line: %q", r.Job.Text, r.Err)
		}
	}
}

// A server that accepts and sends nothing, or stops in the middle, causes a timeout.
func TestTimeouts(t *testing.T) {
	testkit.CheckLeaks(t)
	silent := faultserver.Raw(t, faultserver.Wait)
	stalled := faultserver.Answer(t, func(c *net.TCPConn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
		faultserver.Wait(c)
	})
	for _, s := range []*faultserver.Server{silent, stalled} {
		b := newBench(t)
		b.Idle = 20 * time.Millisecond
		if r := b.run(t, s.URL("/"))[0]; !errors.Is(r.Err, errSilent) || r.Took < b.Idle {
			t.Errorf("idle: error %v after %v", r.Err, r.Took)
		}
		b = newBench(t)
		b.Total, b.Retries = 20*time.Millisecond, 5
		if r := b.run(t, s.URL("/"))[0]; !errors.Is(r.Err, errTotal) || r.Took < b.Total || r.Tries != 1 {
			t.Errorf("total: error %v after %v, %d tries", r.Err, r.Took, r.Tries)
		}
	}
}

// The time limit also applies to a look-up, and to the pause before a retry.
func TestTotalWhileWaiting(t *testing.T) {
	b := newBench(t)
	b.Total, b.Retries, b.FirstBackOff = 20*time.Millisecond, 5, time.Hour
	b.servers = nameServer(t, func(string) response { return silence })
	for _, r := range b.run(t, "http://slow.test/", faultserver.Refusing(t)) {
		if !errors.Is(r.Err, errTotal) {
			t.Errorf("%s: %v", r.Job.Text, r.Err)
		}
	}
}

// Lookups that are too many at a time are made one after the other, and use up no tries.
func TestManyLookups(t *testing.T) {
	b := newBench(t)
	b.servers = nameServer(t, func(string) response { return noSuchName })
	b.lookups = 2 // those of A and AAAA of one name
	b.Retries = 3
	var urls []string
	for i := range 10 {
		urls = append(urls, fmt.Sprintf("http://name%d.test/", i))
	}
	for _, r := range b.run(t, urls...) {
		if r.Err == nil || !strings.Contains(r.Err.Error(), "no such name") || r.Tries != 1 {
			t.Errorf("%s: %v after %d tries", r.Job.Text, r.Err, r.Tries)
		}
	}
}

// The addresses of a host are tried in order.
func TestAddressesInTurn(t *testing.T) {
	b := newBench(t)
	s := faultserver.Text(t, "HTTP/1.1 200 OK\r\n\r\nhello")
	_, port, _ := net.SplitHostPort(s.Addr)
	b.hosts = hostsFile("several.test", "::1", "127.0.0.2", "127.0.0.1")
	if _, got := b.one(t, "http://several.test:"+port+"/"); got != "hello" {
		t.Errorf("body %q", got)
	}
}

// If all addresses of a host fail, each is reported with its error.
func TestAllAddressesReported(t *testing.T) {
	b := newBench(t)
	_, port, _ := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(faultserver.Refusing(t), "http://"), "/"))
	b.hosts = hostsFile("several.test", "::1", "127.0.0.1", "127.0.0.2")
	r := b.run(t, "http://several.test:"+port+"/")[0]
	if r.Err == nil {
		t.Fatal("connected")
	}
	const format = "connect to several.test:%[1]s: [::1]:%[1]s: %[2]s, 127.0.0.1:%[1]s: %[3]s, 127.0.0.2:%[1]s: "
	var e *Error
	var tried attempts
	if !errors.As(r.Err, &e) || !errors.As(e.Err, &tried) || len(tried) != 3 {
		t.Fatalf("%v", r.Err)
	}
	want := fmt.Sprintf(format, port, plain(tried[0].err), plain(tried[1].err))
	if !strings.HasPrefix(r.Err.Error(), want) || !strings.Contains(r.Err.Error(), "connection refused; no server listens there") {
		t.Errorf("%v, want %s", r.Err, want)
	}
}

// The name localhost reaches a server on either loopback address, whatever the hosts file
// has; an address may be written in the URL, with its zone.
func TestLoopbackAddresses(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		ln, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
		if err != nil {
			t.Logf("%s is not tested: %v", addr, err)
			continue
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })}
		go s.Serve(ln)
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		hosts := []string{"localhost", "LOCALHOST", "localhost."}
		if addr == "::1" {
			hosts = append(hosts, "[::1]", "[0:0:0:0:0:0:0:1]", "[::1%25"+loopbackZone(t)+"]")
		}
		for _, host := range hosts {
			b := newBench(t)
			_, got := b.one(t, "http://"+host+":"+port+"/")
			if want, _, zoned := strings.Cut(host, "%25"); !strings.HasPrefix(got, want) || zoned && got != "[::1]:"+port {
				t.Errorf("%s: Host %q", host, got)
			}
		}
		s.Close()
	}
}

// loopbackZone returns the zone as a number: a name may have spaces.
func loopbackZone(t *testing.T) string {
	list, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		if i.Flags&net.FlagLoopback != 0 {
			return strconv.Itoa(i.Index)
		}
	}
	t.Fatal("no loopback interface")
	return ""
}

// Only transient failures are retried.
func TestRetries(t *testing.T) {
	for _, c := range []struct {
		answers []string // the last is for all that follow
		ok      bool
		tries   int
	}{
		{[]string{"HTTP/1.1 503 X\r\nRetry-After: 0\r\n\r\n", "HTTP/1.1 500 X\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nhello"}, true, 3},
		{[]string{"", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", "HTTP/1.1 200 OK\r\n\r\nhello"}, true, 3},
		{[]string{"HTTP/1.1 502 X\r\n\r\n"}, false, 4},
		{[]string{"HTTP/1.1 404 X\r\n\r\n"}, false, 1},
		{[]string{"HTTP/1.1 501 X\r\n\r\n"}, false, 1},
		{[]string{"nonsense\r\n\r\n"}, false, 1},
	} {
		b := newBench(t)
		b.Retries = 3
		var n atomic.Int32
		s := faultserver.Answer(t, func(conn *net.TCPConn, _ *http.Request) {
			i := min(int(n.Add(1)), len(c.answers)) - 1
			io.WriteString(conn, c.answers[i])
		})
		r := b.run(t, s.URL("/"))[0]
		if (r.Err == nil) != c.ok || r.Tries != c.tries || s.Count() != c.tries {
			t.Errorf("%q: error %v after %d tries, %d connections", c.answers, r.Err, r.Tries, s.Count())
		}
		if c.ok && string(b.memory.whole[0]) != "hello" {
			t.Errorf("%q: body %q", c.answers, b.memory.whole[0])
		}
	}
}

func TestBackOff(t *testing.T) {
	const first = 100 * time.Millisecond
	for n, want := range map[int]time.Duration{2: first, 3: 2 * first, 5: 8 * first, 60: maxBackOff} {
		if d := backOff(first, n, 0); d < want*3/4 || d > min(want*5/4, maxBackOff) {
			t.Errorf("before try %d: %v, want about %v", n, d, want)
		}
	}
	if d := backOff(first, 2, time.Second); d != time.Second {
		t.Errorf("the server asked for 1s: %v", d)
	}
	if d := backOff(0, 3, time.Hour); d != maxBackOff {
		t.Errorf("the server asked for 1h: %v", d)
	}
}

// Redirects are followed, relative ones too, up to the limit.
func TestRedirects(t *testing.T) {
	b := newBench(t)
	s := faultserver.Answer(t, func(c *net.TCPConn, r *http.Request) {
		switch code, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); {
		case code == "loop":
			io.WriteString(c, "HTTP/1.1 302 X\r\nLocation: /loop\r\n\r\n")
		case rest == "start":
			io.WriteString(c, "HTTP/1.1 "+code+" X\r\nLocation: ../relative/middle?q#part\r\n\r\nignored")
		case rest == "middle":
			io.WriteString(c, "HTTP/1.1 302 X\r\nLocation: http://"+r.Host+"/end\r\nContent-Length: 99\r\n\r\n")
		default:
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
		}
	})
	for _, code := range []string{"301", "302", "303", "307", "308"} {
		r, got := b.one(t, s.URL("/"+code+"/start"))
		if got != "hello" || r.URL.Path != "/end" {
			t.Errorf("%s: body %q from %s", code, got, r.URL)
		}
	}
	before := s.Count()
	r := b.run(t, s.URL("/loop"))[0]
	if r.Err == nil || !strings.Contains(r.Err.Error(), "too many redirects") || s.Count()-before != b.MaxRedirects+1 {
		t.Errorf("loop: error %v after %d requests", r.Err, s.Count()-before)
	}
}

// The request has the documented fields.
func TestRequest(t *testing.T) {
	b := newBench(t)
	requests := make(chan *http.Request, 1)
	s := faultserver.Answer(t, func(c *net.TCPConn, r *http.Request) {
		requests <- r
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	})
	b.one(t, strings.Replace(s.URL("/a%20b?c=d#e"), "http://", "http://user:secret@", 1))
	got := <-requests
	user, password, _ := got.BasicAuth()
	if got.RequestURI != "/a%20b?c=d" || got.Host != s.Addr || !got.Close || got.UserAgent() != "test" ||
		got.Header.Get("Accept-Encoding") != "identity" || user != "user" || password != "secret" {
		t.Errorf("request %+v", got)
	}
}

// Characters that a URL may not have are sent percent-encoded, and nothing else is changed,
// both in URLs of the user and of redirects.
func TestTarget(t *testing.T) {
	targets := make(chan string, 2)
	var location atomic.Value
	s := faultserver.Raw(t, func(c *net.TCPConn) {
		line, _ := bufio.NewReader(c).ReadString('\n') // net/http's own reader would forgive
		targets <- strings.TrimSuffix(line, "\r\n")
		if strings.HasPrefix(line, "GET /redirect ") {
			fmt.Fprintf(c, "HTTP/1.1 302 X\r\nLocation: %s\r\n\r\n", location.Load())
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	})
	for given, want := range map[string]string{
		"/ok?x HTTP/1.1":    "/ok?x%20HTTP/1.1",
		"/n?q=a b":          "/n?q=a%20b",
		"/\u00f6/%2F/a":     "/%C3%B6/%2F/a",
		"/a|b\"/%2f{}":      "/a%7Cb%22/%2f%7B%7D",
		"/?\u00f6\"<>|`^\\": "/?%C3%B6%22%3C%3E%7C%60%5E%5C",
		"/%41-._~!$&'()*+,;=:@/?%41%zz/?-._~!$&'()*+,;=:@[]": "/%41-._~!$&'()*+,;=:@/?%41%zz/?-._~!$&'()*+,;=:@[]",
	} {
		want = "GET " + want + " HTTP/1.1"
		b := newBench(t)
		b.one(t, s.URL(given))
		if got := <-targets; got != want {
			t.Errorf("%s: %s, want %s", given, got, want)
		}
		for _, l := range []string{given, s.URL(given)} {
			location.Store(l)
			b.one(t, s.URL("/redirect"))
			<-targets
			if got := <-targets; got != want {
				t.Errorf("redirect to %s: %s, want %s", l, got, want)
			}
		}
	}
	// Package url removes the dots in a redirect, as RFC 3986, 5.2.4, requires.
	newBench(t).one(t, s.URL("/\u00f6/%2F/../a"))
	if got := <-targets; got != "GET /%C3%B6/%2F/../a HTTP/1.1" {
		t.Errorf("with dots: %s", got)
	}
}

// Ending a run ends the transfers, and aborts incomplete bodies.
func TestInterrupt(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	b.ctx = ctx
	b.Parallel = 2
	s := faultserver.Answer(t, func(c *net.TCPConn, r *http.Request) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
		if r.URL.Path == "/2" {
			cancel()
		}
		faultserver.Wait(c)
	})
	results, err := b.try(t, s.URL("/1"), s.URL("/2"), s.URL("/3"))
	if !errors.Is(err, context.Canceled) || len(results) != 2 {
		t.Errorf("error %v, %d results", err, len(results))
	}
	for _, r := range results {
		if !Interrupted(r.Err) {
			t.Errorf("%s: %v", r.Job.Text, r.Err)
		}
	}
	if len(b.memory.whole) != 0 {
		t.Error("an incomplete body was stored")
	}
}
