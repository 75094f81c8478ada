package fetch

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/pollux-io/pollux/cmd/pollux/internal/faultserver"
	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
)

// asked records the credentials of a server's requests, in order.
type asked struct {
	mu   sync.Mutex
	list []string
}

func (a *asked) add(r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	user, password, ok := r.BasicAuth()
	if !ok {
		user = "nobody"
	}
	a.list = append(a.list, r.URL.Path+" "+user+":"+password)
}

func (a *asked) take() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { a.list = nil }()
	return strings.Join(a.list, ", ")
}

// Credentials are sent after a redirect to the same scheme, host and port, in any spelling,
// and to no other; they are not sent again after a redirect to another origin and back.
func TestCredentialsStayWithTheirOrigin(t *testing.T) {
	var here, there asked
	var to sync.Map // path: where it redirects to
	serve := func(log *asked) *faultserver.Server {
		return faultserver.Answer(t, func(c *net.TCPConn, r *http.Request) {
			log.add(r)
			if location, ok := to.Load(r.URL.Path); ok {
				fmt.Fprintf(c, "HTTP/1.1 302 X\r\nLocation: %s\r\n\r\n", location)
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
		})
	}
	a, b := serve(&here), serve(&there)
	_, port, _ := net.SplitHostPort(a.Addr)
	b.URL("") // another port is another origin
	to.Store("/back", "http://name.test:"+port+"/end")
	to.Store("/back-with", "http://carol:c@name.test:"+port+"/end")
	to.Store("/on", "/there")
	for _, c := range []struct{ location, here, there string }{
		{"/end", "/a alice:s3cret, /end alice:s3cret", ""},
		{"end?x", "/a alice:s3cret, /end alice:s3cret", ""},
		{"//name.test:" + port + "/end", "/a alice:s3cret, /end alice:s3cret", ""},
		{"http://name.test:" + port + "/end", "/a alice:s3cret, /end alice:s3cret", ""},
		{"HTTP://NAME.Test:" + port + "/end", "/a alice:s3cret, /end alice:s3cret", ""},
		{"http://bob:b@name.test:" + port + "/end", "/a alice:s3cret, /end bob:b", ""},
		{"http://127.0.0.1:" + port + "/end", "/a alice:s3cret, /end nobody:", ""},
		{"http://name.test.:" + port + "/end", "/a alice:s3cret, /end nobody:", ""},
		{"http://sub.name.test:" + port + "/end", "/a alice:s3cret, /end nobody:", ""},
		{b.URL("/end"), "/a alice:s3cret", "/end nobody:"},
		{strings.Replace(b.URL("/on"), "//", "//bob:b@", 1), "/a alice:s3cret", "/on bob:b, /there bob:b"},
		{b.URL("/back"), "/a alice:s3cret, /end nobody:", "/back nobody:"},
		{strings.Replace(b.URL("/back"), "//", "//bob:b@", 1), "/a alice:s3cret, /end nobody:", "/back bob:b"},
		{b.URL("/back-with"), "/a alice:s3cret, /end carol:c", "/back-with nobody:"},
	} {
		to.Store("/a", c.location)
		bench := newBench(t)
		bench.hosts = hostsFile("name.test", "127.0.0.1") + hostsFile("sub.name.test", "127.0.0.1")
		r, _ := bench.one(t, "http://alice:s3cret@name.test:"+port+"/a")
		if h, s := here.take(), there.take(); h != c.here || s != c.there {
			t.Errorf("redirected to %s: asked %q and %q, want %q and %q", c.location, h, s, c.here, c.there)
		}
		if r.URL.User != nil || r.Job.URL.User != nil {
			t.Errorf("redirected to %s: %s", c.location, r.URL)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"http://h/", "http://h:80/x", true},
		{"http://h:/", "http://H:080/x", true},
		{"HTTP://h/", "http://h/", true},
		{"http://[::1]/", "http://[0:0::1]:80/", true},
		{"http://h/", "http://h:81/", false},
		{"http://h/", "https://h/", false},
		{"http://h/", "https://h:80/", false},
		{"http://h/", "http://h./", false},
		{"http://h/", "http://i/", false},
		{"http://[fe80::1%25a]/", "http://[fe80::1%25b]/", false},
		{"http://127.0.0.1/", "http://[::ffff:127.0.0.1]/", false},
	} {
		a, _ := url.Parse(c.a)
		b, _ := url.Parse(c.b)
		if sameOrigin(a, b) != c.want || sameOrigin(b, a) != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, !c.want)
		}
	}
}

// A job, a result and a transfer print no password, with any verb of package fmt.
func TestJobPrintsNoCredentials(t *testing.T) {
	for _, text := range []string{
		"http://al1ce:s3cret@h/", "https://al1ce:s3cret@h/", "http://al1ce:s3cret@/", "http://al1ce:s3cret@h:x/",
		"http://al1ce:s3/cret@h/", "http://al1ce:s3cret@[::1/", "http://al1ce:s3cret%40h/", "http://al1ce:%zzs3cret@h/",
		"http://al1ce:s3cret", "al1ce:s3cret@h", "http:al1ce:s3cret@h", "http://al1ce:s3cret@h/%00\x00", "http://al1ce:s3cret\x00@h/",
	} {
		job := NewJob(0, text)
		r := &Result{Job: job, URL: job.URL, Err: job.Err}
		b, _ := json.Marshal(r)
		printed := string(b)
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			printed += fmt.Sprintf(format, r) + fmt.Sprintf(format, *r) + fmt.Sprintf(format, *job) + fmt.Sprintf(format, job.Err) +
				fmt.Sprintf(format, job.URL) + fmt.Sprintf(format, job.credentials)
		}
		for _, secret := range []string{"s3", "cret"} {
			if strings.Contains(printed, secret) {
				t.Errorf("%s: %s", text, printed)
			}
		}
	}
}

// The error of a redirect that cannot be followed does not contain its password.
func TestBadRedirectHidesCredentials(t *testing.T) {
	servers := nameServer(t, func(string) response { return noSuchName })
	for _, location := range []string{
		"https://al1ce:s3cret@h/", "http://al1ce:s3cret@h:x/", "http://al1ce:s3cret@", "http://al1ce:s3cret@%zz/", "ftp://al1ce:s3cret@h/",
		"http://al1ce:s3/cret@h/", "http://al1ce:s3cret@[::1/", "//al1ce:s3cret@h:99999/", "http://al1ce:s3cret@h:0/",
		"http://al1ce:s3cret@h\u00e4/", "http://al1ce:s3cret@h/?http://al1ce:s3cret@i/",
	} {
		b := newBench(t)
		b.servers = servers
		s := faultserver.Text(t, "HTTP/1.1 302 X\r\nLocation: "+location+"\r\n\r\n")
		r := b.run(t, s.URL("/"))[0]
		if r.Err == nil || strings.Contains(r.Err.Error()+redact.Text(r.URL.String()), "s3") || strings.Contains(r.Err.Error(), "al1ce") {
			t.Errorf("%s: %v at %v", location, r.Err, r.URL)
		}
	}
	s := faultserver.Text(t, "HTTP/1.1 302 X\r\nLocation http://al1ce:s3cret@h/\r\n\r\n")
	if r := newBench(t).run(t, s.URL("/"))[0]; r.Err == nil || strings.Contains(r.Err.Error(), "s3cret") {
		t.Errorf("a field without a colon: %v", r.Err)
	}
}
