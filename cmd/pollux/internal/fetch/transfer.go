package fetch

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/limits"
	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// A transfer is one job in progress. It goes from hop to hop (a hop is a request,
// an answer, and perhaps a redirect to the next), and begins again after a transient
// failure. Each hop has a call.
type transfer struct {
	e       *Engine
	job     *Job
	started time.Time
	tries   int

	url         *url.URL
	credentials credentials // for url
	redirects   int
	downgrade   *url.URL // the first http URL to which an https URL was redirected, also in an earlier try; or nil
	call        *call    // nil when nothing more is expected from the server
	status      int
	body        *pipe // nil until storing begins
	failure     error // of a transfer that waits until its body has been stored

	total, pause *loop.Timer // nil until they are started; pause is before a retry
}

func newTransfer(e *Engine, job *Job) *transfer {
	return &transfer{e: e, job: job, url: job.URL, started: time.Now()}
}

func (t *transfer) start() {
	if t.job.Err != nil {
		t.finish(saved{err: t.job.Err})
		return
	}
	if t.e.cfg.Total > 0 {
		t.total = t.e.loop.AfterFunc(t.e.cfg.Total, func() { t.fail(answerFailure(t.url, "wait for", errTotal)) })
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
	t.url, t.credentials, t.status = u, c, 0
	req, request, err := newRequest(u, c, &t.e.cfg)
	if err != nil {
		t.fail(&Error{Step: "write the request", Err: err, Advice: "check the URL"})
		return
	}
	t.call = &call{t: t, req: req, request: request}
	if err := t.call.dial(); err != nil {
		t.fail(dialFailure(t.url, err))
	}
}

// answered handles a complete head, which is not of class 1xx, and belongs to the loop; body will have
// the bytes after it.
func (t *transfer) answered(resp *http.Response, head []byte, body *pipe) {
	t.status = resp.StatusCode
	next, credentials, err := redirected(resp, t.credentials)
	switch {
	case err != nil:
		t.fail(&Error{Step: "follow a redirect of " + t.url.Host, Err: err})
	case next != nil && t.redirects >= t.e.cfg.MaxRedirects:
		t.fail(&Error{Step: "follow a redirect to " + next.String(), Err: errors.New("too many redirects"), Advice: "they may be circular; --max-redirects sets how many are followed"})
	case next != nil:
		t.redirects++
		if t.downgrade == nil && isTLS(t.url) && !isTLS(next) {
			t.downgrade = next
		}
		t.hangUp()
		t.ask(next, credentials)
	case resp.StatusCode < 200 || resp.StatusCode > 299 || resp.StatusCode == http.StatusPartialContent:
		t.failAfter(statusFailure(t.url, resp), retryAfter(resp, time.Now()))
	default:
		t.store(resp, head, body)
	}
}

// store has the body stored.
func (t *transfer) store(resp *http.Response, head []byte, body *pipe) {
	body.attach()
	src := bodyOf(resp, head, t.e.cfg.Head)
	out, index := t.e.out, t.job.Index
	err := t.e.store(func() saved { return store(out, index, src) }, t.stored)
	if err != nil {
		t.fail(&Error{Step: "store the body", Err: err})
		return
	}
	t.body = body
}

// stored is called when the body has been stored, or cannot be.
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

// hangUp ends the call, before the end of the answer.
func (t *transfer) hangUp() {
	if t.call != nil {
		t.call.abort()
		t.call = nil
	}
}

func (t *transfer) fail(err error) { t.failAfter(err, 0) }

// failAfter ends the try: the transfer begins again, not before the time asked, or is finished.
func (t *transfer) failAfter(err error, asked time.Duration) {
	t.hangUp()
	if t.body != nil {
		if t.failure == nil {
			t.failure = err
			t.body.abort(err)
		}
		return // stored continues
	}
	switch {
	case t.e.stopping:
	case limits.Exhausted(err) && t.e.group.Conns() > 0, errors.Is(err, dns.ErrBusy),
		errors.Is(err, tlsconn.ErrHandshakeEvicted), errors.Is(err, tlsconn.ErrTooManyHandshakes):
		t.tries-- // not the server's fault: wait until another transfer is done
		t.beginAfter(busyPause)
		return
	case isTransient(err) && t.tries <= t.e.cfg.Retries:
		t.beginAfter(backOff(t.e.cfg.FirstBackOff, t.tries+1, asked))
		return
	}
	t.finish(saved{err: err})
}

func (t *transfer) beginAfter(d time.Duration) {
	if t.pause == nil {
		t.pause = t.e.loop.AfterFunc(d, t.begin)
		return
	}
	t.pause.Reset(d)
}

// finish reports the result of the job.
func (t *transfer) finish(s saved) {
	if t.call != nil && s.err == nil {
		t.call.close()
		t.call = nil
	}
	t.hangUp()
	for _, timer := range []*loop.Timer{t.total, t.pause} {
		if timer != nil {
			timer.Stop()
		}
	}
	t.e.ended(t, &Result{
		Job: t.job, URL: t.url, Status: t.status, Bytes: s.bytes,
		Took: time.Since(t.started), Tries: t.tries, Downgrade: t.downgrade, Err: s.err,
	})
}
