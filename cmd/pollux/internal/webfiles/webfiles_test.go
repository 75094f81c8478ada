package webfiles

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

const text = "castor and pollux\n"

// modified is the time of modification of all files.
var modified = time.Unix(1e9, 123456789)

// tree makes a directory beside a file that is outside of it.
func tree(t *testing.T) (dir string) {
	t.Helper()
	top := testkit.TempDir(t)
	dir = filepath.Join(top, "www")
	for name, content := range map[string]string{
		"www/a.txt": text, "www/.env": "secret", "www/.well-known/acme": "ok", "www/sub/.git/config": "secret",
		"www/site/index.html": "<p>index", "www/plain/b.txt": text, "outside": "secret", "www/.well-known/.env": "secret",
	} {
		path := filepath.Join(top, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// ask returns the response to a request for the files of dir. headers are pairs of name and value.
func ask(t *testing.T, dir string, o Options, method, target string, headers ...string) *http.Response {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	r := httptest.NewRequest(method, "/", nil)
	r.URL.Path = target // as the client sent it, after unescaping
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	Handler(root, o).ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What is outside of the directory, hidden or not a file does not exist for clients.
func TestOnlyFilesOfTheDirectoryAreServed(t *testing.T) {
	dir := tree(t)
	for target, want := range map[string]int{
		"/a.txt": 200, "/sub/../a.txt": 200, "/plain/b.txt": 200, "/site/": 200,
		"/none": 404, "/a.txt/b": 404, "/": 404, "/plain/": 404, "/plain": 404,
		"/../outside": 404, "/sub/../../outside": 404, "/..": 404, "//../outside": 404, "/..\\outside": 404,
		"/\x00": 404, "/a.txt\x00": 404, "/" + strings.Repeat("x", 5000): 404,
		"/.env": 404, "/sub/.git/config": 404, "/.well-known/acme": 200, "/sub/.well-known": 404, "/.well-known/.env": 404,
		"/site": 301, "/a.txt/": 301, "/site/index.html": 301,
	} {
		r := ask(t, dir, Options{}, "GET", target)
		if r.StatusCode != want || strings.Contains(body(t, r), "secret") {
			t.Errorf("%.50q: status %d, want %d", target, r.StatusCode, want)
		}
	}
	if r := ask(t, dir, Options{Hidden: true}, "GET", "/.env"); r.StatusCode != 200 {
		t.Errorf("hidden: status %d", r.StatusCode)
	}
	if r := ask(t, dir, Options{Hidden: true, List: true}, "GET", "/../outside"); r.StatusCode != 404 {
		t.Errorf("outside: status %d", r.StatusCode)
	}
}

// Symbolic links within the directory are followed; those that leave it, and absolute ones, are not.
func TestSymbolicLinksStayInside(t *testing.T) {
	testkit.SkipOnWine(t, "it creates symbolic links, but an os.Root cannot open them")
	dir := tree(t)
	for name, to := range map[string]string{
		"inside": "a.txt", "down": "plain", "plain/up": "../a.txt",
		"out": "../outside", "outdir": "..", "absolute": filepath.Join(dir, "a.txt"), "twice": "out", "loop": "loop", "dangling": "none",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Skip("no symbolic links: ", err)
		}
	}
	for target, want := range map[string]int{
		"/inside": 200, "/down/b.txt": 200, "/plain/up": 200,
		"/out": 404, "/outdir/outside": 404, "/outdir/": 404, "/absolute": 404, "/twice": 404, "/loop": 404, "/dangling": 404,
	} {
		r := ask(t, dir, Options{List: true, Hidden: true}, "GET", target)
		if got := body(t, r); r.StatusCode != want || strings.Contains(got, "secret") || want == 200 && got != text {
			t.Errorf("%s: status %d, want %d\n%s", target, r.StatusCode, want, got)
		}
	}
}

// A listing has the names that are served, and no more than maxListed.
func TestListing(t *testing.T) {
	dir := tree(t)
	r := ask(t, dir, Options{List: true}, "GET", "/")
	got := body(t, r)
	for name, want := range map[string]bool{">a.txt<": true, ">plain/<": true, ".env": false, ".well-known": false} {
		if strings.Contains(got, name) != want {
			t.Errorf("listed %q: %v, want %v\n%s", name, !want, want, got)
		}
	}
	if r := ask(t, dir, Options{List: true, Hidden: true}, "GET", "/"); !strings.Contains(body(t, r), ">.env<") {
		t.Error("a hidden name is not listed")
	}
	if got := body(t, ask(t, dir, Options{List: true}, "GET", "/site/")); got != "<p>index" {
		t.Errorf("the index page is %q", got)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	if r := ask(t, dir, Options{List: true}, "GET", "/empty/"); r.StatusCode != 200 {
		t.Errorf("an empty directory: status %d", r.StatusCode)
	}
	for i := range maxListed + 1 {
		f, err := os.Create(filepath.Join(empty, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if r := ask(t, dir, Options{List: true}, "GET", "/empty/"); r.StatusCode != 500 {
		t.Errorf("a directory that is too large: status %d", r.StatusCode)
	}
}

// Ranges, conditional requests and HEAD are those of http.FileServer, with a strong entity tag.
func TestRangesAndConditions(t *testing.T) {
	dir := tree(t)
	whole := ask(t, dir, Options{}, "GET", "/a.txt")
	tag, date := whole.Header.Get("Etag"), whole.Header.Get("Last-Modified")
	if whole.StatusCode != 200 || body(t, whole) != text || !strings.HasPrefix(tag, `"`) || date != "Sun, 09 Sep 2001 01:46:40 GMT" {
		t.Fatalf("%d, tag %s, modified %s", whole.StatusCode, tag, date)
	}
	const earlier = "Sun, 09 Sep 2001 01:46:39 GMT"
	for _, c := range []struct {
		name, value string
		status      int
		body        string
	}{
		{"Range", "bytes=0-5", 206, "castor"},
		{"Range", "bytes=-7", 206, "pollux\n"},
		{"Range", "bytes=99-", 416, ""},
		{"If-None-Match", tag, 304, ""},
		{"If-None-Match", `"other"`, 200, text},
		{"If-Match", `"other"`, 412, ""},
		{"If-Modified-Since", date, 304, ""},
		{"If-Modified-Since", earlier, 200, text},
		{"If-Unmodified-Since", earlier, 412, ""},
	} {
		r := ask(t, dir, Options{}, "GET", "/a.txt", c.name, c.value)
		if got := body(t, r); r.StatusCode != c.status || c.status < 300 && got != c.body || c.status == 304 && got != "" {
			t.Errorf("%s: %s: %d %q, want %d %q", c.name, c.value, r.StatusCode, got, c.status, c.body)
		}
	}
	if r := ask(t, dir, Options{}, "GET", "/a.txt", "Range", "bytes=0-5", "If-Range", `"other"`); r.StatusCode != 200 {
		t.Errorf("a range of another file: status %d, want all of this one", r.StatusCode)
	}
	if r := ask(t, dir, Options{}, "GET", "/a.txt", "Range", "bytes=0-5", "If-Range", tag); r.StatusCode != 206 {
		t.Errorf("a range of this file: status %d", r.StatusCode)
	}
	if r := ask(t, dir, Options{}, "HEAD", "/a.txt"); r.StatusCode != 200 || r.ContentLength != int64(len(text)) || body(t, r) != "" {
		t.Errorf("HEAD: %d, length %d", r.StatusCode, r.ContentLength)
	}
	if err := os.Chtimes(filepath.Join(dir, "a.txt"), modified, modified.Add(time.Nanosecond*1000)); err != nil {
		t.Fatal(err)
	}
	if r := ask(t, dir, Options{}, "GET", "/a.txt", "If-None-Match", tag); r.StatusCode != 200 {
		t.Errorf("a file that was changed in the same second: status %d", r.StatusCode)
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	dir := tree(t)
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "BREW"} {
		if r := ask(t, dir, Options{}, method, "/a.txt"); r.StatusCode != 405 || r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: status %d, Allow: %s", method, r.StatusCode, r.Header.Get("Allow"))
		}
	}
}

// Only errors that a client can do something about, or that pass, are reported as such: a link that leads out of the
// directory is like a name that does not exist.
func TestErrors(t *testing.T) {
	for err, want := range map[error]int{
		syscall.EACCES: 403, syscall.EPERM: 403, syscall.EMFILE: 500, syscall.EIO: 500,
		syscall.ENOENT: 404, syscall.ELOOP: 404, syscall.ENAMETOOLONG: 404, errors.New("path escapes from parent"): 404,
	} {
		w := httptest.NewRecorder()
		fsys := failing{request{}.errorOf("/a.txt", &fs.PathError{Op: "open", Path: "a.txt", Err: err})}
		http.FileServer(fsys).ServeHTTP(w, httptest.NewRequest("GET", "/a.txt", nil))
		if w.Code != want {
			t.Errorf("%v: status %d, want %d", err, w.Code, want)
		}
	}
}

// failing is a file system whose Open fails.
type failing struct{ error }

func (f failing) Open(string) (http.File, error) { return nil, f.error }
