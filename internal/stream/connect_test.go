package stream

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// Only the first outcome that is recorded counts.
func TestOutcomeIsRecordedOnce(t *testing.T) {
	_, to := bound(t, handle.TCPStream) // nothing listens there
	s := prepared(t, to)
	wantConnectError(t, s.RecordConnect(syscall.ETIMEDOUT), syscall.ETIMEDOUT, to)
	for _, e := range []syscall.Errno{0, syscall.ECONNREFUSED} {
		wantConnectError(t, s.RecordConnect(e), syscall.ETIMEDOUT, to)
	}
	wantConnectError(t, s.ConnectError(), syscall.ETIMEDOUT, to)
	if s.ConnectTo() != to {
		t.Error("the address that errors contain is gone after a failure")
	}

	s = prepared(t, to)
	for _, e := range []syscall.Errno{0, syscall.ETIMEDOUT} {
		if err := s.RecordConnect(e); err != nil {
			t.Errorf("after success, recording errno %d returns %v", e, err)
		}
	}
	if s.ConnectTo() != nil {
		t.Error("a connected stream keeps the address it was to be connected to")
	}
}

// Concurrent recorders of different outcomes all get the one that was recorded.
func TestOutcomeIsTheSameForAll(t *testing.T) {
	_, to := bound(t, handle.TCPStream)
	outcomes := []syscall.Errno{0, syscall.ETIMEDOUT, syscall.ECONNREFUSED, syscall.EHOSTUNREACH}
	for range 100 {
		s := prepared(t, to)
		errs := make([]error, len(outcomes))
		var begin, end sync.WaitGroup
		begin.Add(1)
		for i, e := range outcomes {
			end.Go(func() {
				begin.Wait()
				errs[i] = s.RecordConnect(e)
			})
		}
		begin.Done()
		end.Wait()
		recorded := s.ConnectError()
		for _, err := range errs {
			if (err == nil) != (recorded == nil) || err != nil && err.Error() != recorded.Error() {
				t.Fatalf("one recorder got %v, but the outcome is %v", err, recorded)
			}
		}
		s.Handle.Close()
	}
}

// The kernel returns a refusal once. Whichever call gets it, all return it from then on.
func TestRefusalIsKept(t *testing.T) {
	calls := map[string]func(s Stream) error{
		"ConnectError": func(s Stream) error { return s.ConnectError() },
		"Read":         func(s Stream) error { _, err := s.Read(make([]byte, 1)); return err },
		"Write":        func(s Stream) error { _, err := s.Write([]byte("x")); return err },
		"Readv":        func(s Stream) error { _, err := s.Readv([][]byte{make([]byte, 1)}); return err },
		"Writev":       func(s Stream) error { _, err := s.Writev([][]byte{[]byte("x")}); return err },
	}
	for first, call := range calls {
		t.Run(first, func(t *testing.T) {
			if runtime.GOOS == "windows" && (first == "Write" || first == "Writev") {
				t.Skip("skipped: Wine returns ECONNRESET for a write after a refusal")
			}
			_, to := bound(t, handle.TCPStream)
			s := prepared(t, to)
			if err := s.BeginConnect(); err == nil { // else it has failed already
				await(t, "the refusal", func() bool { err = call(s); return !errors.Is(err, ErrWouldBlock) })
				if !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("%s returns %v, want ECONNREFUSED", first, err)
				}
			}
			for again, call := range calls {
				err := s.ConnectError()
				wantConnectError(t, err, syscall.ECONNREFUSED, to)
				if err := call(s); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("after the refusal, %s returns %v", again, err)
				}
			}
		})
	}
}

// A socket that is connected to itself has failed to connect, also if a transfer finds out
// first; and no byte is reported as sent.
func TestSelfConnectIsRefused(t *testing.T) {
	first := map[string]func(t *testing.T, s Stream) error{
		"ConnectError":  func(_ *testing.T, s Stream) error { return s.ConnectError() },
		"RecordConnect": func(_ *testing.T, s Stream) error { return s.RecordConnect(0) },
		"Write": func(t *testing.T, s Stream) error {
			n, err := s.Write([]byte("x"))
			if n != 0 {
				t.Errorf("Write to itself took %d bytes", n)
			}
			return err
		},
	}
	for name, call := range first {
		t.Run(name, func(t *testing.T) {
			h, at := bound(t, handle.TCPStream)
			s := Stream{h, NewAttempt(at)}
			if err := s.BeginConnect(); err != nil {
				t.Fatal("connecting a socket to itself: ", err)
			}
			await(t, "connecting", func() bool { _, e := sys.PeerAddr(fdOf(h)); return e == 0 })
			wantConnectError(t, call(t, s), syscall.ECONNREFUSED, at)
			wantConnectError(t, s.ConnectError(), syscall.ECONNREFUSED, at)
		})
	}
}

// A socket that was created connected has no outcome to wait for; one that is new or closed
// is ErrClosed.
func TestConnectErrorWithoutAttempt(t *testing.T) {
	_, accepted := pair(t)
	if err := accepted.ConnectError(); err != nil {
		t.Error("an accepted stream: ", err)
	}
	if err := (Stream{Handle: &handle.Handle{}}).ConnectError(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a new stream: %v, want ErrClosed", err)
	}
	_, to := bound(t, handle.TCPStream)
	s := prepared(t, to)
	s.Handle.Close()
	for call, err := range map[string]error{
		"ConnectError":  s.ConnectError(),
		"BeginConnect":  s.BeginConnect(),
		"RecordConnect": s.RecordConnect(0),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s of a closed stream: %v, want ErrClosed", call, err)
		}
	}
}
