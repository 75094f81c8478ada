package parkhttp

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The check serves scripts of requests with the net/http of this program, over connections in memory that record what it calls. What
// it must do after the response to a request:
//
//	StateIdle, SetReadDeadline, Read with len idleBytes; and after an error of that, Close, StateClosed
//
// where idleBytes is the length of the first Read of the connection, whose buffer is empty then. If the buffer has fewer than
// wakeBytes bytes of the next request, which either a Read for the request before or its background Read of one byte has
// returned, the last Read must be shorter. If it has more, SetReadDeadline must be called once more before that Read, as the
// buffer can be empty again: its bytes may be consumed up to the end of a line.

// checkLimit bounds each script. A net/http that parking supports takes microseconds; one that does not may wait for something
// that the script does not have.
const checkLimit = 10 * time.Second

// checkNetHTTP returns idleBytes, or why parking is not possible.
var checkNetHTTP = sync.OnceValues(func() (int, error) { return check(serveNetHTTP) })

// serveFunc serves HTTP with a hook for states, as http.Server.Serve does, and logs to w, until ln is closed.
type serveFunc func(ln net.Listener, hook func(net.Conn, http.ConnState), w io.Writer)

func serveNetHTTP(ln net.Listener, hook func(net.Conn, http.ConnState), w io.Writer) {
	server := &http.Server{Handler: http.HandlerFunc(answer), ConnState: hook, ErrorLog: log.New(w, "", 0), ReadHeaderTimeout: checkLimit, IdleTimeout: checkLimit}
	server.Serve(ln)
}

// answer responds with the method and the body of the request.
func answer(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, r.Method+" ")
	io.Copy(w, r.Body)
}

const (
	getRequest  = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	postRequest = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\ncastor"
)

// scripts are what the check serves.
var scripts = []struct {
	name    string
	chunks  []string // what Read returns: a chunk each time, then it is idle
	answers []string
	left    int // bytes of the next request in the buffer at the end, or inside: the server is inside of that request
}{
	{"one request", []string{getRequest}, []string{"GET "}, 0},
	{"a request with a body", []string{postRequest}, []string{"POST castor"}, 0},
	{"a split request", []string{postRequest[:20], postRequest[20:51], postRequest[51:]}, []string{"POST castor"}, 0},
	{"pipelined requests", []string{getRequest + postRequest + getRequest}, []string{"GET ", "POST castor", "GET "}, 0},
	{"a byte that arrives during a request", []string{getRequest, "G"}, []string{"GET "}, 1},
	{"three bytes of the next request", []string{getRequest + "GET"}, []string{"GET "}, 3},
	{"a line of the next request", []string{getRequest + getRequest[:16]}, []string{"GET "}, inside},
	{"a line of the next request after a body", []string{postRequest + getRequest[:16]}, []string{"POST castor"}, inside},
}

const inside = -1

// noEnd is recorded when checkLimit is reached.
const noEnd = "no end"

// What a server calls after the last response, at least up to its first Read.
var (
	idleCalls   = []string{"idle", "deadline", "last read", "close", "closed"}
	insideCalls = []string{"idle", "deadline", "deadline", "last read"}
)

func check(serve serveFunc) (idleBytes int, err error) {
	for _, s := range scripts {
		t := playScript(serve, s.chunks)
		n, why := t.verify(s.answers, s.left)
		if why == "" && idleBytes != 0 && n != idleBytes {
			why = fmt.Sprintf("its first Read has room for %d bytes, and for %d on another connection", n, idleBytes)
		}
		if why != "" {
			return 0, fmt.Errorf("%w: with %s, %s", ErrUnsupported, s.name, why)
		}
		idleBytes = n
	}
	return idleBytes, nil
}

// playScript serves one connection to its end.
func playScript(serve serveFunc, chunks []string) *trace {
	t := &trace{chunks: slices.Clone(chunks)}
	t.cond.L = &t.mu
	ended := make(chan struct{})
	ln := &scriptListener{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	nc := &scriptConn{t: t}
	ln.conns <- nc
	var once sync.Once
	hook := func(c net.Conn, s http.ConnState) {
		switch {
		case c != net.Conn(nc):
			t.add("state of another connection")
		case s == http.StateIdle:
			t.add("idle")
		case s == http.StateClosed:
			t.add("closed")
			once.Do(func() { close(ended) })
		}
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		serve(ln, hook, (*logWriter)(t))
	}()
	limit := time.NewTimer(checkLimit)
	defer limit.Stop()
	select {
	case <-ended:
	case <-limit.C:
		t.add(noEnd)
		limit.Reset(checkLimit)
	}
	nc.Close()
	ln.Close()
	select {
	case <-served:
	case <-limit.C:
	}
	return t
}

// A trace is what a server has called, in order.
type trace struct {
	mu      sync.Mutex
	cond    sync.Cond
	chunks  []string
	calls   []string
	first   int // the length of the first Read
	last    int // and that of the last one
	written bytes.Buffer
	expired bool // the read deadline has passed
	over    bool // Close was called
}

func (t *trace) add(call string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addLocked(call)
}

func (t *trace) addLocked(call string) {
	if !t.over || call == "closed" {
		t.calls = append(t.calls, call)
	}
}

// verify returns the length of the first Read, or what is different from what parking needs.
func (t *trace) verify(answers []string, left int) (idleBytes int, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.Contains(t.calls, noEnd) {
		return 0, fmt.Sprintf("the connection has not ended after %v", checkLimit)
	}
	r := bufio.NewReader(bytes.NewReader(t.written.Bytes()))
	for _, want := range answers {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return 0, fmt.Sprintf("a response is not complete when the connection is idle: %v", err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != want {
			return 0, fmt.Sprintf("the response is %q (%v) when the connection is idle, not %q", body, err, want)
		}
	}
	if n := r.Buffered(); n > 0 {
		return 0, fmt.Sprintf("it writes %d bytes after the responses", n)
	}
	return t.first, t.verifyCallsLocked(len(answers), left)
}

// verifyCallsLocked returns what is different in the calls, or "". t.mu must be held.
func (t *trace) verifyCallsLocked(requests, left int) string {
	var idle []int // where the calls have StateIdle
	for i, call := range t.calls {
		if call == "idle" {
			idle = append(idle, i)
		}
	}
	if len(idle) != requests {
		return fmt.Sprintf("it is idle %d times after %d requests", len(idle), requests)
	}
	before, got := t.calls[:idle[len(idle)-1]], t.calls[idle[len(idle)-1]:]
	want := idleCalls
	if left == inside {
		want, got = insideCalls, got[:min(len(got), len(insideCalls))]
	}
	for _, call := range before {
		if call != "idle" && call != "deadline" {
			return fmt.Sprintf("it calls %q before the last response", call)
		}
	}
	switch {
	case !slices.Equal(got, want):
		return fmt.Sprintf("it calls %q, not %q", strings.Join(got, ", "), strings.Join(want, ", "))
	case left != inside && t.last != t.first-left:
		return fmt.Sprintf("its last Read has room for %d bytes, with %d in a buffer of %d", t.last, left, t.first)
	}
	return ""
}

// logWriter records that the server logs.
type logWriter trace

func (w *logWriter) Write(b []byte) (int, error) {
	(*trace)(w).add("log " + string(bytes.TrimSpace(b)))
	return len(b), nil
}
