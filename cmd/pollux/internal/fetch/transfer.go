package fetch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/limits"
	"github.com/pollux-io/pollux/cmd/pollux/internal/wire"
)

// A transfer is one job in progress. It goes from hop to hop (a hop is a request,
// an answer, and perhaps a redirect to the next), and begins again after a transient
// failure. A hop sets, in this order, addrs, call, head, body.
type transfer struct {
	e       *Engine
	job     *Job
	started time.Time
	tries   int

	url         *url.URL
	credentials credentials // for url
	redirects   int
	req         *http.Request
	request     []byte
	addrs       []netip.Addr // not yet tried
	addr        netip.AddrPort
	tried       attempts // the addresses that failed
	hop         int      // number of the hop: a result for an earlier one is ignored

	call    *wire.Call
	open    bool // connected
	head    []byte
	scanned int // the head does not end before this
	skipped int // number of answers of class 1xx
	status  int
	body    *pipe // nil until storing begins
	failure error // of a transfer that waits for the body's goroutine

	total   wire.Timer
	silence wire.Timer // connecting takes too long, or no byte is received
	pause   wire.Timer // before a retry
	heard   time.Time  // when the last byte was received
}

func newTransfer(e *Engine, job *Job) *transfer {
	t := &transfer{e: e, job: job, url: job.URL, started: e.loop.Now()}
	t.total.F = func() { t.fail(answerFailure(t.url, "wait for", errTotal)) }
	t.silence.F = t.onSilence
	t.pause.F = t.begin
	return t
}

func (t *transfer) start() {
	if t.job.Err != nil {
		t.finish(saved{err: t.job.Err})
		return
	}
	if t.e.cfg.Total > 0 {
		t.e.loop.Arm(&t.total, t.e.cfg.Total)
	}
	t.begin()
}

// begin begins a try, with the job's own URL.
func (t *transfer) begin() {
	t.tries++
	t.redirects = 0
	t.ask(t.job.URL, t.job.credentials)
}

// ask begins a hop.
func (t *transfer) ask(u *url.URL, c credentials) {
	t.url, t.credentials, t.status, t.tried = u, c, 0, nil
	t.head, t.scanned, t.skipped = nil, 0, 0
	t.hop++
	var err error
	if t.req, t.request, err = newRequest(u, c, &t.e.cfg); err != nil {
		t.fail(&Error{Step: "write the request", Err: err, Advice: "check the URL"})
		return
	}
	hop := t.hop
	t.e.names.Resolve(u.Hostname(), func(addrs []netip.Addr, err error) {
		switch {
		case t.hop != hop:
		case err != nil:
			t.fail(lookupFailure(u.Hostname(), err))
		default:
			t.addrs = addrs
			t.connect()
		}
	})
}

// connect tries the next address.
func (t *transfer) connect() {
	for len(t.addrs) > 0 {
		p, _ := port(t.url)
		t.addr = netip.AddrPortFrom(t.addrs[0], p)
		t.addrs = t.addrs[1:]
		call, err := t.e.loop.Call(t.addr, t.request, t)
		if err == nil {
			t.call, t.open = call, false
			if t.e.cfg.Connect > 0 {
				t.e.loop.Arm(&t.silence, t.e.cfg.Connect)
			}
			return
		}
		t.tried = append(t.tried, attempt{t.addr, err})
		if limits.Exhausted(err) {
			break // the other addresses need a descriptor too
		}
	}
	t.fail(connectFailure(t.url, t.tried))
}

// connectNext tries the next address after err with the current one.
func (t *transfer) connectNext(err error) {
	t.tried = append(t.tried, attempt{t.addr, err})
	t.connect()
}

// Connected implements wire.Handler.
func (t *transfer) Connected() {
	t.open = true
	t.heard = t.e.loop.Now()
	t.e.loop.Disarm(&t.silence)
	if t.e.cfg.Idle > 0 {
		t.e.loop.Arm(&t.silence, t.e.cfg.Idle)
	}
}

// onSilence is called when the timer silence fires. The timer is not reset for every byte:
// onSilence checks when the last one was received.
func (t *transfer) onSilence() {
	if !t.open {
		t.hangUp()
		t.connectNext(os.ErrDeadlineExceeded)
		return
	}
	left := t.e.cfg.Idle - t.e.loop.Now().Sub(t.heard)
	switch {
	case t.call == nil: // everything is received; the output is slow
	case t.call.Waiting(): // the server waits for this side to read
		t.e.loop.Arm(&t.silence, t.e.cfg.Idle)
	case left > 0:
		t.e.loop.Arm(&t.silence, left)
	default:
		t.fail(answerFailure(t.url, "wait for", errSilent))
	}
}

// Space implements wire.Handler.
func (t *transfer) Space() int {
	if t.body != nil {
		return t.body.free()
	}
	return maxHeadBytes - len(t.head)
}

// Received implements wire.Handler.
func (t *transfer) Received(b []byte) {
	t.heard = t.e.loop.Now()
	if t.body != nil {
		if t.e.cfg.Received != nil {
			t.e.cfg.Received(len(b))
		}
		t.body.put(b)
		return
	}
	t.head = append(t.head, b...)
	t.readHeads()
}

// Ended implements wire.Handler.
func (t *transfer) Ended(err error) {
	t.call = nil
	switch {
	case t.body != nil:
		t.body.end(err)
	case !t.open:
		t.connectNext(err)
	case errors.Is(err, io.EOF):
		t.fail(answerFailure(t.url, "read the answer of", io.ErrUnexpectedEOF))
	default:
		t.fail(answerFailure(t.url, "read the answer of", err))
	}
}

// readHeads parses the head when it is complete, and skips those of class 1xx.
func (t *transfer) readHeads() {
	for t.call != nil && t.body == nil {
		if !couldBeHTTP(t.head) {
			t.fail(answerFailure(t.url, "read the answer of", errNotHTTP))
			return
		}
		end, whole := headEnd(t.head, t.scanned)
		if !whole {
			t.scanned = max(len(t.head)-2, 0)
			if len(t.head) >= maxHeadBytes {
				t.fail(answerFailure(t.url, "read the answer of", errHead))
			}
			return
		}
		t.answered(end)
	}
}

// answered handles a head that ends at t.head[end].
func (t *transfer) answered(end int) {
	var body *pipe
	body = newPipe(func() { t.e.loop.Post(func() { t.onSpace(body) }) })
	resp, err := readHead(t.head[:end], body, t.req)
	if err != nil {
		t.fail(answerFailure(t.url, "read the answer of", err))
		return
	}
	if 100 <= resp.StatusCode && resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
		t.head, t.scanned = t.head[end:], 0
		if t.skipped++; t.skipped > maxInformational {
			err := fmt.Errorf("%w: more than %d answers of class 1xx", errAnswer, maxInformational)
			t.fail(answerFailure(t.url, "read the answer of", err))
		}
		return
	}
	t.status = resp.StatusCode
	next, credentials, err := redirected(resp, t.credentials)
	switch {
	case err != nil:
		t.fail(&Error{Step: "follow a redirect of " + t.url.Host, Err: err})
	case next != nil && t.redirects >= t.e.cfg.MaxRedirects:
		t.fail(&Error{Step: "follow a redirect to " + next.String(), Err: errors.New("too many redirects"), Advice: "they may be circular; --max-redirects sets how many are followed"})
	case next != nil:
		t.redirects++
		t.hangUp()
		t.ask(next, credentials)
	case resp.StatusCode < 200 || resp.StatusCode > 299 || resp.StatusCode == http.StatusPartialContent:
		t.failAfter(statusFailure(t.url, resp), retryAfter(resp, t.e.loop.Now()))
	default:
		t.store(resp, body, end)
	}
}

// store starts the goroutine that stores the body.
func (t *transfer) store(resp *http.Response, body *pipe, end int) {
	t.body = body
	body.attach()
	body.put(t.head[end:])
	if t.e.cfg.Received != nil {
		t.e.cfg.Received(len(t.head) - end)
	}
	src := bodyOf(resp, t.head[:end], t.e.cfg.Head)
	t.head = nil
	out, index, loop := t.e.out, t.job.Index, t.e.loop
	go func() {
		s := store(out, index, src)
		loop.Post(func() { t.stored(s) })
	}()
}

// onSpace is called when body has space again.
func (t *transfer) onSpace(body *pipe) {
	if t.body == body && t.call != nil {
		t.call.Resume()
	}
}

// stored is called when the body's goroutine has ended.
func (t *transfer) stored(s saved) {
	t.body = nil
	if t.failure != nil {
		s.err, t.failure = t.failure, nil
	}
	switch {
	case s.err == nil:
		t.finish(s)
		return
	case isStoreError(s.err):
		e := &Error{Step: "store the body", Err: s.err, Advice: "check the directory and the free space"}
		var path *fs.PathError
		if errors.As(s.err, &path) {
			e.Step += " in " + path.Path
		}
		if limits.Exhausted(s.err) {
			e.Transient, e.Advice = true, limits.Advice
		}
		s.err = e
	case !isError(s.err):
		s.err = answerFailure(t.url, "read the body from", s.err)
	}
	if !s.clean {
		t.finish(s)
		return
	}
	t.failAfter(s.err, 0)
}

func isError(err error) bool {
	var e *Error
	return errors.As(err, &e) || errors.Is(err, errStopped)
}

// hangUp ends the call.
func (t *transfer) hangUp() {
	t.e.loop.Disarm(&t.silence)
	if t.call != nil {
		t.call.Close()
		t.call = nil
	}
}

func (t *transfer) fail(err error) { t.failAfter(err, 0) }

// failAfter ends the try: the transfer begins again, not before the time asked, or is finished.
func (t *transfer) failAfter(err error, asked time.Duration) {
	t.hangUp()
	t.hop++ // results for this hop are ignored
	if t.body != nil {
		if t.failure == nil {
			t.failure = err
			t.body.abort(err)
		}
		return // stored continues
	}
	switch {
	case t.e.stopping:
	case limits.Exhausted(err) && t.e.loop.Open() > 0:
		t.tries--                          // not the server's fault: wait until another transfer is done
		t.e.names.Forget(t.url.Hostname()) // the look-up may have failed
		t.e.loop.Arm(&t.pause, exhaustedPause)
		return
	case isTransient(err) && t.tries <= t.e.cfg.Retries:
		t.e.names.Forget(t.url.Hostname())
		t.e.loop.Arm(&t.pause, backOff(t.e.cfg.FirstBackOff, t.tries+1, asked))
		return
	}
	t.finish(saved{err: err})
}

// finish reports the result of the job.
func (t *transfer) finish(s saved) {
	t.hangUp()
	t.e.loop.Disarm(&t.total)
	t.e.loop.Disarm(&t.pause)
	t.e.ended(t, &Result{
		Job: t.job, URL: t.url, Status: t.status, Bytes: s.bytes,
		Took: t.e.loop.Now().Sub(t.started), Tries: t.tries, Err: s.err,
	})
}
