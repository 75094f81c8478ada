package stream

import (
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// A reset is ECONNRESET, also after the peer's FIN, for which Linux has EPIPE. TakeFailure
// returns it once, and leaves the received bytes readable.
func TestTakeFailure(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("skipped: Windows has no SO_ERROR of a connection that was reset; only events report it")
	}
	for _, finFirst := range []bool{false, true} {
		s, peer := pair(t)
		if err := s.TakeFailure(); err != nil {
			t.Error("the failure of an open connection: ", err)
		}
		if _, err := peer.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if finFirst {
			check(t, "shutdown", sys.Shutdown(fdOf(peer.Handle), sys.SHUT_WR))
			await(t, "the FIN", func() bool { // by peeking, as the byte is to stay
				n, err := s.Recv("peek", make([]byte, 2), sys.MSG_PEEK)
				return err == nil && n == 1
			})
		}
		reset(peer)
		var err error
		await(t, "the reset", func() bool { err = s.TakeFailure(); return err != nil })
		if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Op != "read" || op.Source == nil || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("FIN first: %v: TakeFailure returns %v, want ECONNRESET of reading, with the address", finFirst, err)
		}
		if err := s.TakeFailure(); err != nil {
			t.Errorf("FIN first: %v: TakeFailure returns %v again", finFirst, err)
		}
		if _, err := s.Read(make([]byte, 2)); err != nil && err != io.EOF {
			t.Errorf("FIN first: %v: after TakeFailure, Read returns %v", finFirst, err)
		}
	}
}

// A closed stream has no failure and no bytes.
func TestFailureOfClosed(t *testing.T) {
	s, _ := pair(t)
	s.Handle.Close()
	if err := s.TakeFailure(); err != nil {
		t.Error(err)
	}
	for name, count := range map[string]func() (int, bool){"UnreadBytes": s.UnreadBytes, "UnackedBytes": s.UnackedBytes} {
		if n, known := count(); n != 0 || known {
			t.Errorf("%s of a closed stream: %d, %v; want not known", name, n, known)
		}
	}
}

// UnreadBytes counts what was received, UnackedBytes what was sent, in the kernel's buffers.
func TestBytesInTheKernel(t *testing.T) {
	fds, e := sys.Socketpair(sys.SOCK_STREAM)
	if errors.Is(e, syscall.ENOSYS) || errors.Is(e, errors.ErrUnsupported) {
		t.Skip("skipped: this system has no socket pairs")
	}
	check(t, "socketpair", e)
	a, b := Stream{Handle: own(t, fds[0], handle.UnixStream)}, Stream{Handle: own(t, fds[1], handle.UnixStream)}
	if n, known := b.UnreadBytes(); n != 0 || !known {
		t.Errorf("unread bytes before a write: %d, %v; want 0", n, known)
	}
	if _, err := a.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if n, known := b.UnreadBytes(); n != 5 || !known {
		t.Errorf("unread bytes: %d, %v; want 5", n, known)
	}
	held, known := a.UnackedBytes()
	if runtime.GOOS == "linux" && (held < 5 || !known) { // elsewhere the receiver's buffer holds them
		t.Errorf("the kernel holds %d sent bytes, want at least 5", held)
	}
	if _, err := b.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if n, known := b.UnreadBytes(); n != 0 || !known {
		t.Errorf("unread bytes after the read: %d, %v; want 0", n, known)
	}
	if now, _ := a.UnackedBytes(); known && now != 0 {
		t.Errorf("the kernel holds %d sent bytes after the read, want 0", now)
	}
	if !known {
		t.Skip("skipped in part: this system does not report unacknowledged bytes")
	}
}
