package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/cmd/pollux/internal/faultserver"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
)

// largeBody is the number of the only body of more than 20,000 bytes.
const largeBody = 1_000_000

// body returns the body at /n of the test server, always the same.
func body(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	size := r.IntN(20000)
	if n == largeBody {
		size = 4 << 20
	}
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// files starts a server of bodies: those of even numbers with a length, the others chunked.
func files(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		b := body(n)
		if n%2 == 0 {
			w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		}
		half := len(b) / 2
		w.Write(b[:half])
		w.(http.Flusher).Flush()
		w.Write(b[half:])
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// 2,000 URLs, 500 at a time; each file is compared byte for byte.
func TestFetchMany(t *testing.T) {
	testkit.CheckLeaks(t)
	count := 2000
	if sys.OnWine() {
		count = 500 // Wine takes milliseconds for each
	}
	url, dir := files(t), testkit.TempDir(t)
	var list strings.Builder
	list.WriteString("# a list\r\n\r\n")
	for i := range count {
		fmt.Fprintf(&list, "  %s/%d \r\n", url, i)
	}
	status, out, err := pollux(t, list.String(), "fetch", "-o", dir, "--input", "-", "--parallel", "500")
	if status != exitOK || strings.Count(out, "\n") != count || strings.Count(err, "\n") != 1 {
		t.Errorf("status %d\n%s", status, err)
	}
	for i := range count {
		got, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil || !bytes.Equal(got, body(i)) {
			t.Fatalf("file %d: %v, or its bytes differ", i, err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != count {
		t.Errorf("%d files in the directory, want %d", len(left), count)
	}
}

// Standard output gets whole bodies in the order of the URLs, and nothing else.
func TestFetchToStandardOutput(t *testing.T) {
	testkit.CheckLeaks(t)
	url := files(t)
	args, want := []string{"fetch"}, []byte{}
	for i := range 50 {
		args = append(args, url+"/"+strconv.Itoa(i))
		want = append(want, body(i)...)
		if i%10 == 0 {
			args = append(args, url+"/missing")
		}
	}
	status, out, err := pollux(t, "", args...)
	if status != exitFailed || out != string(want) {
		t.Errorf("status %d, %d bytes, want %d", status, len(out), len(want))
	}
	if n := strings.Count(err, "status 404"); n != 5 {
		t.Errorf("%d lines on failures\n%s", n, err)
	}
	status, out, err = pollux(t, "", "fetch", url+"/7")
	if status != exitOK || out != string(body(7)) || err != "" {
		t.Errorf("one alone: status %d, %d bytes\n%s", status, len(out), err)
	}
}

// A single body is written as it is received, so a failure in the middle is not retried:
// nothing is written twice.
func TestStreamIsNotRepeated(t *testing.T) {
	testkit.CheckLeaks(t)
	s := faultserver.Text(t, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
	status, out, err := pollux(t, "", "fetch", "--retries", "5", s.URL("/"))
	if status != exitFailed || out != "hello" || s.Count() != 1 || !strings.Contains(err, "closed the connection before") {
		t.Errorf("status %d after %d tries: %q\n%s", status, s.Count(), out, err)
	}
}

// Each failure is a line on standard error, each success a line on standard output; only
// successes leave a file.
func TestFetchSomeFail(t *testing.T) {
	testkit.CheckLeaks(t)
	url, dir := files(t), filepath.Join(testkit.TempDir(t), "new", "folder")
	broken := faultserver.Answer(t, func(c *net.TCPConn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
	})
	status, out, err := pollux(t, "", "fetch", "-o", dir, "--retries", "0",
		url+"/1", broken.URL("/broken"), url+"/2", "nonsense", url+"/x/..")
	if status != exitFailed || strings.Count(out, "\n") != 2 || strings.Count(err, "\n") != 4 {
		t.Errorf("status %d\n%s%s", status, out, err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	hidden, _ := filepath.Glob(filepath.Join(dir, ".*"))
	if len(names)+len(hidden) != 2 {
		t.Errorf("files %q %q", names, hidden)
	}
	status, out, err = pollux(t, "", "fetch", "-q", "-o", dir, url+"/3")
	if status != exitOK || out+err != "" {
		t.Errorf("quiet: status %d\n%s%s", status, out, err)
	}
}

// The error of a file that cannot be stored has the path that the user knows.
func TestFetchCannotStore(t *testing.T) {
	testkit.CheckLeaks(t)
	url, dir := files(t), testkit.TempDir(t)
	path := filepath.Join(dir, "1")
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	status, _, err := pollux(t, "", "fetch", "-o", dir, url+"/1")
	if status != exitFailed || !strings.Contains(err, ": store the body in "+path+": ") {
		t.Errorf("status %d, %s", status, err)
	}
}

func TestInputTooLong(t *testing.T) {
	status, _, err := pollux(t, strings.Repeat("x", maxLineBytes+1), "fetch", "--input", "-")
	if status != exitUsage || !strings.Contains(err, "token too long") {
		t.Errorf("status %d: %s", status, err)
	}
}
