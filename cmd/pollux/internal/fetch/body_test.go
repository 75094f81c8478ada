package fetch

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/cmd/pollux/internal/faultserver"
	"github.com/pollux-io/pollux/cmd/pollux/internal/save"
	"github.com/pollux-io/pollux/internal/testkit"
)

const chunkedHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

// Bodies of every framing are stored unchanged, also if they are received byte by byte
// or followed by more bytes.
func TestFraming(t *testing.T) {
	for name, c := range map[string]struct{ answer, body string }{
		"length":            {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"},
		"length and more":   {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 500", "hello"},
		"length zero":       {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""},
		"until close":       {"HTTP/1.1 200 OK\r\n\r\nhello", "hello"},
		"HTTP/1.0":          {"HTTP/1.0 200 OK\r\n\r\nhello", "hello"},
		"bare newlines":     {"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "hello"},
		"chunked":           {chunkedHead + "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", "hello"},
		"chunked, trailers": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n5\r\nhello\r\n0\r\nSum: 1\r\nOther: 2\r\n\r\n", "hello"},
		"no content":        {"HTTP/1.1 204 No Content\r\n\r\n", ""},
		"continue":          {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi"},
		"HTTP/1.0, chunked": {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"},
		"1.0, both":         {"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"},
		"both":              {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"},
		"folded":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"},
		"equal lengths":     {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "hello"},
		"keep-alive 1.0":    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nhello", "hello"},
		"HTTP/1.2":          {"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi"},
		"204 and a body":    {"HTTP/1.1 204 No Content\r\n\r\nhello", ""},
		"204, chunked":      {"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", ""},
		"205":               {"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\nhello", ""},
		"no reason":         {"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", "hi"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			s := faultserver.Text(t, c.answer)
			if _, got := b.one(t, s.URL("/")); got != c.body {
				t.Errorf("in one write: body %q, want %q", got, c.body)
			}
			dribbling := faultserver.Answer(t, func(c2 *net.TCPConn, _ *http.Request) {
				for i := range c.answer {
					c2.Write([]byte(c.answer[i : i+1]))
					runtime.Gosched()
				}
			})
			r, got := b.one(t, dribbling.URL("/"))
			if got != c.body || r.Bytes != int64(len(c.body)) {
				t.Errorf("byte by byte: body %q of %d bytes, want %q", got, r.Bytes, c.body)
			}
		})
	}
}

// An answer to HEAD has no body, whatever its Content-Length is; the head is
// stored. The server keeps the connection open: fetch must not wait for its end.
func TestHead(t *testing.T) {
	b := newBench(t)
	b.Head = true
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
	methods := make(chan string, 1)
	s := faultserver.Answer(t, func(c *net.TCPConn, r *http.Request) {
		methods <- r.Method
		io.WriteString(c, head)
		faultserver.Wait(c)
	})
	if _, got := b.one(t, s.URL("/")); got != head {
		t.Errorf("stored %q", got)
	}
	if method := <-methods; method != http.MethodHead {
		t.Errorf("method %s", method)
	}
}

// A body of known length ends there, not when the server closes.
func TestKeptOpen(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
		chunkedHead + "2\r\nhi\r\n0\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
	} {
		b := newBench(t)
		s := faultserver.Answer(t, func(c *net.TCPConn, _ *http.Request) {
			io.WriteString(c, answer)
			faultserver.Wait(c)
		})
		r := b.run(t, s.URL("/"))[0]
		if ok := r.Status != http.StatusNotModified; ok != (r.Err == nil) {
			t.Errorf("%q: status %d, error %v", answer, r.Status, r.Err)
		}
	}
}

// An incomplete body is a failure, and never stored.
func TestBrokenBody(t *testing.T) {
	for name, c := range map[string]struct{ answer, want string }{
		"short":              {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", "closed the connection before"},
		"empty":              {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", "closed the connection before"},
		"in a chunk":         {chunkedHead + "5\r\nhel", "closed the connection before"},
		"between chunks":     {chunkedHead + "5\r\nhello\r\n", "closed the connection before"},
		"in the trailer":     {chunkedHead + "5\r\nhello\r\n0\r\nSum:", "trailer"},
		"garbage chunk size": {chunkedHead + "zz\r\nhello\r\n0\r\n\r\n", "invalid byte in chunk length"},
		"garbage after":      {chunkedHead + "5\r\nhelloXX0\r\n\r\n", "malformed chunked encoding"},
		"endless chunk size": {chunkedHead + strings.Repeat("1", 10000), "header line too long"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			r := b.run(t, faultserver.Text(t, c.answer).URL("/"))[0]
			if r.Err == nil || !strings.Contains(r.Err.Error(), c.want) {
				t.Errorf("error %v, want %q", r.Err, c.want)
			}
			if len(b.memory.whole) != 0 || b.memory.aborted != 1 {
				t.Errorf("%d bodies stored, %d aborted", len(b.memory.whole), b.memory.aborted)
			}
		})
	}
}

// A reset in the middle of a body is a failure, also if the body ends with the connection.
func TestReset(t *testing.T) {
	testkit.SkipOnWine(t, "Wine 8 may read EOF after RST, and EOF ends such a body")
	b := newBench(t)
	s := faultserver.Answer(t, func(c *net.TCPConn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
		c.SetLinger(0)
	})
	if r := b.run(t, s.URL("/"))[0]; r.Err == nil || len(b.memory.whole) != 0 {
		t.Errorf("error %v, stored %d", r.Err, len(b.memory.whole))
	}
}

// An answer with ambiguous framing is refused, and nothing of it is stored.
func TestBadFraming(t *testing.T) {
	for name, c := range map[string]struct{ fields, want string }{
		"gzip":               {"Transfer-Encoding: gzip", "unsupported transfer encoding"},
		"gzip, chunked":      {"Transfer-Encoding: gzip, chunked", "unsupported transfer encoding"},
		"chunked twice":      {"Transfer-Encoding: chunked, chunked", "unsupported transfer encoding"},
		"two fields":         {"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", "too many transfer encodings"},
		"identity":           {"Transfer-Encoding: identity", "unsupported transfer encoding"},
		"empty coding":       {"Transfer-Encoding:", "unsupported transfer encoding"},
		"blank before colon": {"Transfer-Encoding : chunked", "a blank before the colon"},
		"length, blank":      {"Content-Length : 5", "a blank before the colon"},
		"two lengths":        {"Content-Length: 5\r\nContent-Length: 6", "multiple Content-Length"},
		"list of lengths":    {"Content-Length: 5, 5", "bad Content-Length"},
		"plus":               {"Content-Length: +5", "bad Content-Length"},
		"minus":              {"Content-Length: -5", "bad Content-Length"},
		"hexadecimal":        {"Content-Length: 0x5", "bad Content-Length"},
		"empty length":       {"Content-Length:", "Content-Length"},
		"overflow":           {"Content-Length: 99999999999999999999", "bad Content-Length"},
		"NUL":                {"X: \x00", "malformed"},
	} {
		for _, version := range []string{"1.1", "1.0"} {
			b := newBench(t)
			s := faultserver.Text(t, "HTTP/"+version+" 200 OK\r\n"+c.fields+"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
			r := b.run(t, s.URL("/"))[0]
			if r.Err == nil || !strings.Contains(r.Err.Error(), c.want) || r.Tries != 1 || len(b.memory.whole) != 0 || b.memory.aborted != 0 {
				t.Errorf("%s, HTTP/%s: error %v, want %q; %d bodies", name, version, r.Err, c.want, len(b.memory.whole))
			}
		}
	}
}

// A status line of another protocol, or of another version, is refused.
func TestBadStatusLine(t *testing.T) {
	for answer, want := range map[string]string{
		"hello\r\n":                                                 "not HTTP",
		"<html>HTTP/0.9</html>":                                     "not HTTP",
		"HTTP/0.9 200 OK\r\n\r\nhello":                              "version 0 of HTTP",
		"HTTP/2.0 200 OK\r\n\r\nhello":                              "version 2 of HTTP",
		"HTTP/1.1 +20 OK\r\n\r\nhello":                              "status line",
		"HTTP/1.1 2000 OK\r\n\r\nhello":                             "status line",
		"HTTP/1.1 20 OK\r\n\r\nhello":                               "status line",
		"HTTP/11.1 200 OK\r\n\r\nhello":                             "status line",
		"HTTP/1.1\r\n\r\nhello":                                     "status line",
		"HTTP/1.1 206 X\r\nContent-Range: bytes 0-4/9\r\n\r\nhello": "a part of the body",
		"HTTP/1.1 099 X\r\n\r\nhello":                               "status line",
		"HTTP/1.1 999 X\r\n\r\nhello":                               "status 999",
		"HTTP/1.1 " + strings.Repeat("x", 60<<10) + "\r\n\r\n":      "xxx...\"",
	} {
		b := newBench(t)
		r := b.run(t, faultserver.Text(t, answer).URL("/"))[0]
		if r.Err == nil || !strings.Contains(r.Err.Error(), want) || len(r.Err.Error()) > 400 || len(b.memory.whole) != 0 {
			t.Errorf("%.40q: error %v, want %q", answer, r.Err, want)
		}
	}
}

// hashing is an Output that stores nothing.
type hashing struct{ hash.Hash }

func (h hashing) Create(int) (save.Body, error) { return h, nil }
func (h hashing) Commit() error                 { return nil }
func (h hashing) Abort() bool                   { return true }

// A large body is fetched in bounded memory, with a length and chunked.
func TestHugeBody(t *testing.T) {
	testkit.CheckLeaks(t)
	const block, blocks = 1 << 20, 64
	data := bytes.Repeat([]byte("0123456789abcdef"), block/16)
	want := sha256.New()
	for range blocks {
		want.Write(data)
	}
	s := faultserver.Answer(t, func(c *net.TCPConn, r *http.Request) {
		chunked := r.URL.Path == "/chunked"
		if chunked {
			io.WriteString(c, chunkedHead)
		} else {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", block*blocks)
		}
		for range blocks {
			if chunked {
				fmt.Fprintf(c, "%x\r\n", block)
			}
			c.Write(data)
			if chunked {
				io.WriteString(c, "\r\n")
			}
		}
		if chunked {
			io.WriteString(c, "0\r\n\r\n")
		}
	})
	for _, path := range []string{"/length", "/chunked"} {
		b := newBench(t)
		h := hashing{sha256.New()}
		b.out = h
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := b.run(t, s.URL(path))[0]
		runtime.ReadMemStats(&after)
		if r.Err != nil || r.Bytes != block*blocks || !bytes.Equal(h.Sum(nil), want.Sum(nil)) {
			t.Errorf("%s: error %v, %d bytes, or the hash differs", path, r.Err, r.Bytes)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
			t.Errorf("%s: %d bytes allocated for a body of %d", path, n, block*blocks)
		}
	}
}

// stuck is an Output whose first write blocks until release.
type stuck struct {
	*memory
	release chan struct{}
}

type stuckBody struct {
	save.Body
	s stuck
}

func (s stuck) Create(index int) (save.Body, error) {
	body, err := s.memory.Create(index)
	return stuckBody{body, s}, err
}

func (b stuckBody) Write(p []byte) (int, error) {
	<-b.s.release
	return b.Body.Write(p)
}

// While the output blocks, no more than a pipe is received, so the server has to wait; other transfers
// continue, and the idle timeout does not run.
func TestBackPressure(t *testing.T) {
	b := newBench(t)
	const (
		length = 64 << 20
		others = 300
		most   = 1 << 20 // a pipe, and what the loop delivers at once
	)
	b.Idle, b.Connect = 0, 0 // a busy machine may need minutes
	var received atomic.Int64
	b.Received = func(n int) { received.Add(int64(n)) }
	unblock := make(chan struct{})
	release := sync.OnceFunc(func() { close(unblock) })
	b.out = stuck{b.memory, unblock}
	slow := faultserver.Answer(t, func(c *net.TCPConn, _ *http.Request) {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", length)
		buf := make([]byte, 64<<10)
		for sent := 0; sent < length; {
			n, err := c.Write(buf)
			if err != nil {
				return
			}
			sent += n
		}
	})
	refusing := faultserver.Text(t, "HTTP/1.1 404 Not Found\r\n\r\n")
	urls := []string{slow.URL("/")}
	for range others {
		urls = append(urls, refusing.URL("/"))
	}
	ended := make(chan *Result, len(urls))
	b.ended = func(r *Result) { ended <- r }
	var run sync.WaitGroup
	defer run.Wait() // deferred calls run in reverse order, so after release
	defer release()
	run.Go(func() {
		defer close(ended) // also if run ends the goroutine
		b.run(t, urls...)
	})
	for i := range others { // they end while the first is stuck
		switch r := <-ended; {
		case r == nil:
			t.Fatalf("the run has ended, with %d results, while an output blocks", i)
		case r.Status != http.StatusNotFound:
			t.Errorf("result %d, of %s, while an output blocks: status %d, error %v", i, r.URL, r.Status, r.Err)
		}
	}
	if n := received.Load(); n > most {
		t.Errorf("%d bytes were received while the output blocks, want at most %d", n, most)
	}
	release()
	switch r := <-ended; {
	case r == nil:
		t.Fatal("the run has ended without a result of the first transfer")
	case r.Err != nil || r.Bytes != length:
		t.Errorf("stored %d of %d bytes: error %v", r.Bytes, length, r.Err)
	}
	run.Wait()
	if n := len(b.memory.whole[0]); n != length {
		t.Errorf("the output has %d of %d bytes", n, length)
	}
}

// An error of the output fails the job, and is not retried.
func TestOutputFails(t *testing.T) {
	b := newBench(t)
	b.Retries = 3
	b.memory.fail = errors.New("no space left on device")
	s := faultserver.Text(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	r := b.run(t, s.URL("/"))[0]
	if r.Err == nil || !strings.Contains(r.Err.Error(), "store the body: no space left") || r.Tries != 1 {
		t.Errorf("error %v after %d tries", r.Err, r.Tries)
	}
}
