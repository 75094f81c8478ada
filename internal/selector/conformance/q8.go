package conformance

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// Q8: events have the same meaning on all systems.
func (u *suite) q8() []test {
	return tests(
		test{"the peer's FIN is read-closed", u.finIsReadClosed},
		test{"data and FIN together lose nothing", u.dataAndFin},
		test{"dropping a stream sends FIN", u.dropSendsFin},
		test{"write then drop delivers", u.writeThenDrop},
		test{"write then deregister delivers", u.writeThenDeregister},
		test{"connect then close leaves no registration", u.connectThenClose},
		test{"listen then close leaves no registration", u.listenThenClose},
		test{"a peek keeps the readiness", u.peekKeeps},
		test{"reading a stream without data would block", u.readBeforeData},
		test{"a reset is reported once, then quiet", u.resetOnce},
		test{"a refused connect is reported, then quiet", u.refused},
		test{"connect gives writable", u.connectWritable},
		test{"half-close leaves the other direction", u.halfClose},
		test{"a pipe's writer dropped is seen by the reader", u.pipeWriterGone},
		test{"a pipe's reader dropped is seen by the writer", u.pipeReaderGone},
	)
}

func (u *suite) finIsReadClosed(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	must(t, b.CloseWrite())
	ev := next(t, q, "the FIN", u.isFIN(t, 1))
	if !ev.Readable() {
		t.Errorf("%v, want Readable too: the next read returns EOF", ev)
	}
	if ev.Failed() {
		t.Errorf("%v: a FIN is not an error", ev)
	}
	if _, err := a.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read: %v, want EOF", err)
	}
	u.quiet(t, q, "the FIN has been reported")
}

func (u *suite) dataAndFin(t *testing.T) {
	for range 50 {
		q := u.poll(t)
		a, b := u.pair(t)
		must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
		write(t, b, "last words")
		must(t, b.CloseWrite())
		got := 0
		buf := make([]byte, 64)
		for eof := false; !eof; {
			ev := next(t, q, "data and FIN", readable(1))
			for {
				n, err := a.Read(buf)
				got += n
				if err == io.EOF {
					eof = true
				}
				if err != nil || n < len(buf) && !ev.ReadClosed() {
					break
				}
			}
		}
		if got != 10 {
			t.Fatalf("%d bytes before EOF, want 10", got)
		}
	}
}

func (u *suite) dropSendsFin(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	must(t, b.Close())
	next(t, q, "the FIN", u.isFIN(t, 1))
	if _, err := a.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read: %v, want EOF", err)
	}
}

// isFIN returns a match function for the event of tok that reports the peer's FIN.
func (u *suite) isFIN(t *testing.T, tok pollux.Token) func(pollux.Event) bool {
	t.Helper()
	if u.EndsAsReadable {
		limit(t, "a FIN may be reported as Readable only")
	}
	return func(ev pollux.Event) bool {
		return ev.Token() == tok && (ev.ReadClosed() || u.EndsAsReadable && ev.Readable())
	}
}

func (u *suite) writeThenDrop(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	must(t, q.Register(b, 2, pollux.Writable, pollux.Edge))
	write(t, b, "parting words")
	must(t, b.Close())
	got := 0
	for got < 13 {
		next(t, q, "what was written before the drop", readable(1))
		got += drain(t, a)
	}
}

func (u *suite) writeThenDeregister(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	reg := q.Registrator()
	must(t, reg.Register(a, 1, pollux.Readable, pollux.Edge))
	must(t, reg.Register(b, 2, pollux.Writable, pollux.Edge))
	write(t, b, "parting words")
	must(t, reg.Deregister(b))
	for got := 0; got < 13; {
		next(t, q, "what was written before Deregister", readable(1))
		got += drain(t, a)
	}
}

func (u *suite) connectThenClose(t *testing.T) {
	q := u.poll(t)
	l := u.listener(t)
	for range 20 {
		c, err := l.Connect()
		must(t, err)
		must(t, q.Register(c, 1, pollux.Readable|pollux.Writable, pollux.Edge))
		c.Close()
		u.strictlyQuiet(t, q)
	}
	if n := q.Len(); n != 0 {
		t.Errorf("%d registrations are left", n)
	}
}

func (u *suite) listenThenClose(t *testing.T) {
	q := u.poll(t)
	for _, trigger := range []pollux.Trigger{pollux.Edge, pollux.Level, pollux.Oneshot} {
		l := u.listener(t)
		must(t, q.Register(l, 1, pollux.Readable, trigger))
		c, err := l.Connect()
		must(t, err)
		next(t, q, "a connection to accept", readable(1))
		must(t, l.Close())
		u.strictlyQuiet(t, q)
		c.Close()
	}
	if n := q.Len(); n != 0 {
		t.Errorf("%d registrations are left", n)
	}
}

// peekKeeps: data that was only peeked at is still reported with Level, and as an edge after
// Reregister.
func (u *suite) peekKeeps(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	raw, err := a.(syscall.Conn).SyscallConn()
	must(t, err)
	peek := func() {
		t.Helper()
		must(t, raw.Control(func(fd uintptr) {
			if n, e := sys.Recv(sys.FD(fd), make([]byte, 8), sys.MSG_PEEK); n != 3 || e != 0 {
				t.Errorf("peek: %d bytes, %v", n, e)
			}
		}))
	}
	must(t, q.Register(a, 1, pollux.Readable, pollux.Level))
	write(t, b, "xyz")
	for range 3 {
		next(t, q, "level readiness after a peek", readable(1))
		peek()
	}
	must(t, q.Reregister(a, 2, pollux.Readable, pollux.Edge))
	next(t, q, "an edge", readable(2))
	peek()
	must(t, q.Reregister(a, 3, pollux.Readable, pollux.Edge))
	next(t, q, "an edge after a peek and Reregister", readable(3))
	if n := drain(t, a); n != 3 {
		t.Errorf("%d bytes after the peeks, want 3", n)
	}
}

// readBeforeData reads a stream immediately after it is connected.
func (u *suite) readBeforeData(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	for range 3 {
		if n, err := a.Read(make([]byte, 8)); n != 0 || !errors.Is(err, sock.ErrWouldBlock) {
			t.Fatalf("Read = %d, %v, want ErrWouldBlock", n, err)
		}
		u.quiet(t, q, "there is nothing to read")
		write(t, b, "x")
		next(t, q, "a byte after a read that would block", readable(1))
		drain(t, a)
	}
}

func (u *suite) resetOnce(t *testing.T) {
	if u.Reset == nil {
		t.Skip("this system's streams cannot be reset")
	}
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable|pollux.Writable, pollux.Edge))
	next(t, q, "writable at first", writable(1))
	must(t, u.Reset(b))
	must(t, b.Close())
	if u.EndsAsReadable {
		limit(t, "a reset may be reported as Readable only")
	}
	ev := next(t, q, "the reset", func(ev pollux.Event) bool {
		return ev.Failed() || ev.ReadClosed() || ev.WriteClosed() || u.EndsAsReadable && ev.Readable()
	})
	if !ev.Readable() {
		t.Errorf("%v, want Readable too: the next read returns the error", ev)
	}
	// An error, or EOF if the kernel reports a reset as EOF; never would-block.
	if _, err := a.Read(make([]byte, 1)); err == nil || errors.Is(err, sock.ErrWouldBlock) {
		t.Errorf("Read after a reset: %v", err)
	}
	// This takes the last events of the reset; there must be none after them.
	collect(t, q)
	u.quiet(t, q, "the reset has been reported")
}

func (u *suite) refused(t *testing.T) {
	if u.RefusedConnect == nil {
		t.Skip("this system has no connect that is refused")
	}
	q := u.poll(t)
	s, err := u.RefusedConnect()
	if err != nil {
		t.Logf("connect was refused immediately: %v", err)
		return
	}
	defer s.Close()
	must(t, q.Register(s, 1, pollux.Readable|pollux.Writable, pollux.Edge))
	next(t, q, "the refusal", writable(1))
	if c, ok := s.(interface{ ConnectError() error }); ok && c.ConnectError() == nil {
		t.Error("ConnectError of a refused connection = nil")
	}
	collect(t, q)
	u.quiet(t, q, "the refusal has been reported")
}

func (u *suite) connectWritable(t *testing.T) {
	q := u.poll(t)
	l := u.listener(t)
	c, err := l.Connect()
	must(t, err)
	defer c.Close()
	must(t, q.Register(c, 1, pollux.Writable, pollux.Edge))
	next(t, q, "the end of connecting", writable(1))
	if s, ok := c.(interface{ ConnectError() error }); ok {
		if err := s.ConnectError(); err != nil {
			t.Errorf("ConnectError: %v", err)
		}
	}
	s, err := l.Accept()
	must(t, err)
	s.Close()
}

func (u *suite) halfClose(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	must(t, q.Register(b, 2, pollux.Readable, pollux.Edge))
	must(t, a.CloseWrite())
	next(t, q, "the half-close", u.isFIN(t, 2))
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read after the peer's half-close: %v, want EOF", err)
	}
	write(t, b, "still here")
	got := 0
	for got < 10 {
		next(t, q, "data after the half-close", readable(1))
		got += drain(t, a)
	}
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("writing after CloseWrite succeeded")
	}
}

func (u *suite) pipe(t *testing.T) (Reader, Writer) {
	t.Helper()
	if u.Pipe == nil {
		t.Skip("this system has no pipes that can be watched")
	}
	r, w, err := u.Pipe()
	must(t, err)
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func (u *suite) pipeWriterGone(t *testing.T) {
	q := u.poll(t)
	r, w := u.pipe(t)
	must(t, q.Register(r, 1, pollux.Readable, pollux.Edge))
	write(t, w, "x")
	must(t, w.Close())
	got := 0
	for {
		next(t, q, "the writer's close", readable(1))
		n := drain(t, r)
		got += n
		if _, err := r.Read(make([]byte, 1)); err == io.EOF {
			break
		}
	}
	if got != 1 {
		t.Errorf("%d bytes, want 1", got)
	}
}

func (u *suite) pipeReaderGone(t *testing.T) {
	q := u.poll(t)
	r, w := u.pipe(t)
	must(t, q.Register(w, 1, pollux.Writable, pollux.Edge))
	next(t, q, "writable at first", writable(1))
	must(t, r.Close())
	next(t, q, "the reader's close", func(ev pollux.Event) bool { return ev.Failed() || ev.WriteClosed() })
	if _, err := w.Write([]byte("x")); err == nil || errors.Is(err, sock.ErrWouldBlock) {
		t.Errorf("Write to a pipe without a reader: %v", err)
	}
	// A registration made after the close reports it as well, and Register succeeds.
	must(t, q.Deregister(w))
	must(t, q.Register(w, 2, pollux.Writable, pollux.Edge))
	next(t, q, "the broken pipe", func(ev pollux.Event) bool { return ev.Token() == 2 })
}
