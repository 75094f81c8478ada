// Package conformance is the test suite that every readiness backend must pass. It
// tests the promises Q1 to Q11 of the queue, each in a file of its own; suite.go has the list
// and the helpers. It runs on a System: functions that make queues and sources. Sockets is the
// System of this machine's kernel. What only one backend does is tested beside that backend.
package conformance

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// A Stream is one end of a connection.
type Stream interface {
	pollux.Source
	io.ReadWriteCloser
	CloseWrite() error
}

// A Reader is the reading end of a pipe.
type Reader interface {
	pollux.Source
	io.ReadCloser
}

// A Writer is the writing end of a pipe.
type Writer interface {
	pollux.Source
	io.WriteCloser
}

// A Listener accepts streams.
type Listener interface {
	pollux.Source
	io.Closer
	Accept() (Stream, error)
	// Connect starts to connect to the listener.
	Connect() (Stream, error)
}

// A System is a kernel, or a model of one, with a backend for it.
type System struct {
	NewPoll func(...pollux.Option) (*pollux.Poll, error)
	// NewQueue makes the queue of such a Poll with settings that have no option.
	NewQueue func(selector.Config) (*queue.Poll, error)
	Pair     func() (a, b Stream, err error)
	Listen   func() (Listener, error)

	// Optional: tests that need a function that is nil are skipped, with the reason.
	Pipe        func() (Reader, Writer, error)
	Reset       func(Stream) error // makes Close reset the connection
	RegularFile func() (pollux.Source, func(), error)

	// RefusedConnect returns a stream whose connect will be refused.
	RefusedConnect func() (Stream, error)

	Limits
}

// Limits are the ways in which a kernel reports less than others, or differently;
// docs/platforms.md documents each. With a limit the suite checks the rest of the promise, and
// logs that.
type Limits struct {
	// ExtraEdges: the kernel may report an edge again without a change.
	ExtraEdges bool
	// EndsAsReadable: a stream's FIN or reset may be reported as Readable alone; the next
	// read returns EOF or the error.
	EndsAsReadable bool
	// UrgentLasts: urgent data is reported until the bytes after it are read, also after
	// ReadUrgent has read it.
	UrgentLasts bool
	// NoUrgent: urgent data is not reported.
	NoUrgent bool
	// ReportsLate: it may take a moment until readiness is reported, so a Wait with a timeout of
	// zero may miss it.
	ReportsLate bool
}

// limit logs that a test checks less because of a limit of the system.
func limit(t testing.TB, what string) {
	t.Helper()
	t.Logf("checked in part: on this system %s (docs/platforms.md)", what)
}

// deadline bounds every wait of the suite: an event that takes longer counts as lost.
const deadline = testkit.Watchdog

type suite struct{ System }

// Run runs the named parts of the suite, such as "Q8", on s; all parts if none is named.
func Run(t *testing.T, s System, parts ...string) {
	u := &suite{s}
	if stop, ok := startSignals(); ok {
		stop() // the first use of os/signal starts a goroutine that never ends
	}
	before := testkit.CountUsage()
	before.Goroutines++ // that of the test that counts
	for _, part := range []struct {
		name  string
		tests []test
	}{
		{"Q1", u.q1()},
		{"Q2", u.q2()},
		{"Q3", u.q3()},
		{"Q4", u.q4()},
		{"Q5", u.q5()},
		{"Q6", u.q6()},
		{"Q7", u.q7()},
		{"Q8", u.q8()},
		{"Q9", u.q9()},
		{"Q10", u.q10()},
		{"Q11", u.q11()},
	} {
		if len(parts) > 0 && !slices.Contains(parts, part.name) {
			continue
		}
		for _, test := range part.tests {
			t.Run(part.name+"/"+test.name, test.run)
		}
	}
	t.Run("NothingIsLeft", func(t *testing.T) { before.Check(t) })
}

type test struct {
	name string
	run  func(*testing.T)
}

func (u *suite) poll(t testing.TB, options ...pollux.Option) *pollux.Poll {
	t.Helper()
	q, err := u.NewPoll(options...)
	if err != nil {
		t.Fatalf("making a Poll: %v", err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

// queue returns a queue with this configuration, for a Poll over it.
func (u *suite) queue(t testing.TB, c selector.Config) *queue.Poll {
	t.Helper()
	q, err := u.NewQueue(c)
	if err != nil {
		t.Fatalf("making a queue with %+v: %v", c, err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

// spinningPoll returns a Poll that spins before it sleeps; see selector.Config.BusyPoll.
func (u *suite) spinningPoll(t testing.TB, busyPoll time.Duration) *pollux.Poll {
	t.Helper()
	return over(t, u.queue(t, selector.Config{BusyPoll: busyPoll}))
}

// over returns a Poll over q.
func over(t testing.TB, q *queue.Poll) *pollux.Poll {
	t.Helper()
	p, err := pollux.New(queue.Over(q))
	must(t, err)
	return p
}

func (u *suite) pair(t testing.TB) (a, b Stream) {
	t.Helper()
	a, b, err := u.Pair()
	if err != nil {
		t.Fatalf("making a pair of streams: %v", err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func (u *suite) listener(t testing.TB) Listener {
	t.Helper()
	l, err := u.Listen()
	if err != nil {
		t.Fatalf("listening: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write(%d bytes) = %d, %v", len(s), n, err)
	}
}

// drain reads until a read would block or returns EOF, and returns the number of bytes.
func drain(t testing.TB, r io.Reader) int {
	t.Helper()
	b := make([]byte, 4096)
	total := 0
	for {
		n, err := r.Read(b)
		total += n
		if errors.Is(err, sock.ErrWouldBlock) || errors.Is(err, io.EOF) {
			return total
		}
		if err != nil {
			t.Fatalf("Read: %v", err)
		}
	}
}

// fill writes until a write would block, and returns the number of bytes.
func fill(t testing.TB, w io.Writer) int {
	t.Helper()
	b := make([]byte, 64<<10)
	total := 0
	for {
		n, err := w.Write(b)
		total += n
		if errors.Is(err, sock.ErrWouldBlock) {
			return total
		}
		if err != nil {
			t.Fatalf("Write: %v", err)
		}
	}
}

// next waits for an event that matches, drops others, and returns it.
func next(t testing.TB, q *pollux.Poll, what string, match func(pollux.Event) bool) pollux.Event {
	t.Helper()
	end := time.Now().Add(deadline)
	events := make([]pollux.Event, 16)
	for time.Now().Before(end) {
		n, err := q.Wait(events, time.Until(end))
		if err != nil {
			t.Fatalf("Wait for %s: %v", what, err)
		}
		for _, ev := range events[:n] {
			if match(ev) {
				return ev
			}
		}
	}
	t.Fatalf("no event within %v: %s", deadline, what)
	return pollux.Event{}
}

func readable(tok pollux.Token) func(pollux.Event) bool {
	return func(ev pollux.Event) bool { return ev.Token() == tok && ev.Readable() }
}

func writable(tok pollux.Token) func(pollux.Event) bool {
	return func(ev pollux.Event) bool { return ev.Token() == tok && ev.Writable() }
}

// collect returns the events that are ready now.
func collect(t testing.TB, q *pollux.Poll) []pollux.Event {
	t.Helper()
	events := make([]pollux.Event, 64)
	n, err := q.Wait(events, 0)
	if err != nil {
		t.Fatalf("Wait: %v", err)
	}
	return events[:n]
}

// quiet fails if there is an event within settle: events of local streams take less.
func (u *suite) quiet(t testing.TB, q *pollux.Poll, why string) {
	t.Helper()
	events := make([]pollux.Event, 16)
	n, err := q.Wait(events, settle)
	if err != nil {
		t.Fatalf("Wait: %v", err)
	}
	if n > 0 && !u.ExtraEdges {
		t.Fatalf("%s, but Wait returned %v", why, events[:n])
	}
}

const settle = 20 * time.Millisecond

// tests replaces the spaces in the tests' names, so that go test -run accepts them.
func tests(fs ...test) []test {
	for i := range fs {
		fs[i].name = strings.ReplaceAll(fs[i].name, " ", "-")
	}
	return fs
}
