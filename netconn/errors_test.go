package netconn_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

// isErrno reports whether err is a POSIX error, or the Winsock error that means the same.
func isErrno(err error, posix syscall.Errno) bool {
	native, ok := nativeErrnos[posix]
	return errors.Is(err, posix) || ok && errors.Is(err, native)
}

// A system is package net, or package netconn with a group.
type system struct {
	listen func(address string) (net.Listener, error)
	dial   func(ctx context.Context, address string) (net.Conn, error)
}

var packageNet = system{
	func(address string) (net.Listener, error) { return net.Listen("tcp", address) },
	func(ctx context.Context, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	},
}

func netconnOn(g *loop.Group) system {
	return system{
		func(address string) (net.Listener, error) { return netconn.Listen(g, "tcp", address) },
		func(ctx context.Context, address string) (net.Conn, error) {
			return (&netconn.Dialer{Group: g}).DialContext(ctx, "tcp", address)
		},
	}
}

// onPair returns what f returns for the two ends of a connection.
func (s system) onPair(f func(c, peer end) error) error {
	ln := must(s.listen("127.0.0.1:0"))
	defer ln.Close()
	c := must(s.dial(context.Background(), ln.Addr().String()))
	defer c.Close()
	peer := must(ln.Accept())
	defer peer.Close()
	return f(c.(end), peer.(end))
}

// onListener returns what f returns for a listener.
func (s system) onListener(f func(ln net.Listener) error) error {
	ln := must(s.listen("127.0.0.1:0"))
	defer ln.Close()
	return f(ln)
}

// afterReset resets the connection of c, and waits until c's system has found it.
func afterReset(c, peer end) error {
	peer.SetLinger(0)
	peer.Close()
	_, err := c.Read(make([]byte, 1))
	return err
}

// failures are calls that fail.
var failures = map[string]func(system) error{
	"dial where nothing listens": func(s system) error {
		_, err := s.dial(context.Background(), unusedAddress())
		return err
	},
	"dial with an expired context": func(s system) error {
		ctx, cancel := context.WithDeadline(context.Background(), past)
		defer cancel()
		_, err := s.dial(ctx, unusedAddress())
		return err
	},
	"dial with a cancelled context": func(s system) error {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := s.dial(ctx, unusedAddress())
		return err
	},
	"listen at an address in use": func(s system) error {
		return s.onListener(func(ln net.Listener) error {
			_, err := s.listen(ln.Addr().String())
			return err
		})
	},
	"accept at the deadline": func(s system) error {
		return s.onListener(func(ln net.Listener) error {
			ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(past)
			_, err := ln.Accept()
			return err
		})
	},
	"accept after close": func(s system) error {
		return s.onListener(func(ln net.Listener) error {
			ln.Close()
			_, err := ln.Accept()
			return err
		})
	},
	"read after a reset": func(s system) error { return s.onPair(afterReset) },
	"write after a reset": func(s system) error {
		return s.onPair(func(c, peer end) error {
			afterReset(c, peer)
			_, err := c.Write([]byte("x"))
			return err
		})
	},
	"read at the deadline": func(s system) error {
		return s.onPair(func(c, _ end) error {
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			return err
		})
	},
	"write at the deadline": func(s system) error {
		return s.onPair(func(c, _ end) error {
			c.SetWriteDeadline(past)
			_, err := c.Write([]byte("x"))
			return err
		})
	},
	"write after CloseWrite": func(s system) error {
		return s.onPair(func(c, _ end) error {
			c.CloseWrite()
			_, err := c.Write([]byte("x"))
			return err
		})
	},
	"CloseWrite after a reset": func(s system) error {
		return s.onPair(func(c, peer end) error {
			afterReset(c, peer)
			return c.CloseWrite()
		})
	},
	"read after close": func(s system) error {
		return s.onPair(func(c, _ end) error {
			c.Close()
			_, err := c.Read(make([]byte, 1))
			return err
		})
	},
	"write after close": func(s system) error {
		return s.onPair(func(c, _ end) error {
			c.Close()
			_, err := c.Write([]byte("x"))
			return err
		})
	},
	"read at the end": func(s system) error {
		return s.onPair(func(c, peer end) error {
			peer.Close()
			_, err := c.Read(make([]byte, 1))
			return err
		})
	},
}

// reasonNotToCompare returns why a call of package net, or with the group, does not show what the system returns, or "".
func reasonNotToCompare(g *loop.Group, call string) string {
	switch {
	case strings.HasSuffix(call, "a reset") && hidesResets(g):
		return resetMayBeEOF
	case call == "read after a reset" && sys.OnWine():
		return "Wine's server consumes the error when it polls the socket, so Read of package net returns io.EOF; on Windows it is WSAECONNRESET"
	case call == "CloseWrite after a reset" && runtime.GOOS == "windows":
		return "shutdown may fail with any of several Winsock errors after a reset (shutdown, return values), and under Wine it succeeds"
	}
	return ""
}

// unusedAddress returns an address at which nothing listens.
func unusedAddress() string {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	return ln.Addr().String()
}

// matches returns the errors that errors.Is finds in err: the system's by their POSIX names, and on Windows the Winsock errors.
func matches(err error) (found []string) {
	errnos := []syscall.Errno{
		syscall.EACCES, syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, syscall.ECONNABORTED, syscall.ECONNREFUSED, syscall.ECONNRESET,
		syscall.EINVAL, syscall.ENOTCONN, syscall.EPIPE, syscall.ETIMEDOUT,
	}
	for _, e := range errnos {
		if isErrno(err, e) {
			found = append(found, e.Error())
		}
		if native, ok := nativeErrnos[e]; ok && errors.Is(err, native) {
			found = append(found, "Winsock's "+e.Error())
		}
	}
	for _, e := range []error{io.EOF, net.ErrClosed, os.ErrDeadlineExceeded, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			found = append(found, e.Error())
		}
	}
	if n := net.Error(nil); errors.As(err, &n) && n.Timeout() {
		found = append(found, "timeout")
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		found = append(found, op.Op+" of "+op.Net)
	}
	if call := (*os.SyscallError)(nil); errors.As(err, &call) && !strings.HasPrefix(call.Syscall, "connect") { // Windows has two such calls
		found = append(found, "by "+call.Syscall)
	}
	return found
}

// A call that fails returns an error that callers of package net recognize: what errors.Is finds in the error of package net
// is found in that of this package.
func TestErrors(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		for what, call := range failures {
			if why := reasonNotToCompare(g, what); why != "" {
				t.Logf("%s is not compared: %s", what, why)
				continue
			}
			theirs, ours := call(packageNet), call(netconnOn(g))
			want, got := matches(theirs), matches(ours)
			if len(want) == 0 || !slices.Equal(got, want) {
				t.Errorf("%s: %v matches %q, want %q, as %v of package net", what, ours, got, want, theirs)
			}
		}
	})
}

// The errors of the system can be compared with those of package syscall on every system, and on Windows with Winsock's.
func TestErrnos(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		for what, want := range map[string]syscall.Errno{
			"dial where nothing listens":  syscall.ECONNREFUSED,
			"listen at an address in use": syscall.EADDRINUSE,
			"read after a reset":          syscall.ECONNRESET,
			"write after a reset":         map[bool]syscall.Errno{true: syscall.ECONNRESET, false: syscall.EPIPE}[runtime.GOOS == "windows"],
			"write after CloseWrite":      syscall.EPIPE,
			"CloseWrite after a reset":    syscall.ENOTCONN,
		} {
			if strings.HasSuffix(what, "a reset") && hidesResets(g) {
				t.Logf("%s is not tested: %s", what, resetMayBeEOF)
				continue
			}
			err := failures[what](netconnOn(g))
			if native, ok := nativeErrnos[want]; !errors.Is(err, want) || ok && !errors.Is(err, native) {
				t.Errorf("%s: %v, want %v, and Winsock's error %d", what, err, want, native)
			}
		}
	})
}
