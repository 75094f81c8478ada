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
// where idleBytes is the length of the first Read of the connection, whose buffer is empty then. If it has bytes of the next
// request, which either a Read for the request before or its background Read of one byte has returned, the last Read
// must be shorter.

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
	left    int // bytes of the next request in the buffer
}{
	{"one request", []string{getRequest}, []string{"GET "}, 0},
	{"a request with a body", []string{postRequest}, []string{"POST castor"}, 0},
	{"a split request", []string{postRequest[:20], postRequest[20:51], postRequest[51:]}, []string{"POST castor"}, 0},
	{"pipelined requests", []string{getRequest + postRequest + getRequest}, []string{"GET ", "POST castor", "GET "}, 0},
	{"a request and the beginning of the next", []string{getRequest + "GE"}, []string{"GET "}, 2},
	{"a byte that arrives during a request", []string{getRequest, "G"}, []string{"GET "}, 1},
}

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
	t := &trace{chunks: chunks}
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
		t.add("no end")
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
	first   int          // the length of the first Read
	last    int          // and that of the last one
	written bytes.Buffer // until the last Read
	expired bool         // the read deadline has passed
	over    bool         // Close was called
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

// end is how the trace of each connection ends.
var end = []string{"idle", "deadline", "idle read", "close", "closed"}

// verify returns the length of the first Read, or what is different from what parking needs.
func (t *trace) verify(answers []string, left int) (idleBytes int, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
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
	at := max(len(t.calls)-len(end), 0)
	idles := 0
	for _, call := range t.calls {
		if call == "idle" {
			idles++
		}
	}
	switch {
	case r.Buffered() > 0:
		return 0, fmt.Sprintf("it writes %d bytes after the responses", r.Buffered())
	case !slices.Equal(t.calls[at:], end):
		return 0, fmt.Sprintf("it does %q instead of %q at the end", strings.Join(t.calls[at:], ", "), strings.Join(end, ", "))
	case slices.Contains(t.calls[:at], "idle read"):
		return 0, "it reads more than the script has before it is idle"
	case idles != len(answers):
		return 0, fmt.Sprintf("it is idle %d times after %d requests", idles, len(answers))
	case t.last != t.first-left:
		return 0, fmt.Sprintf("its Read has room for %d bytes when the connection is idle, with %d bytes in a buffer that had room for %d", t.last, left, t.first)
	}
	return t.first, ""
}

// logWriter records that the server logs.
type logWriter trace

func (w *logWriter) Write(b []byte) (int, error) {
	(*trace)(w).add("log " + string(bytes.TrimSpace(b)))
	return len(b), nil
}
