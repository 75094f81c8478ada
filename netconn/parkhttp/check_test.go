package parkhttp

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The check accepts the net/http of this Go release, and the result is the same each time.
func TestCheck(t *testing.T) {
	for range 20 {
		n, err := check(serveNetHTTP)
		if err != nil || n != 4096 {
			t.Fatalf("%d bytes, %v; if this net/http is new, see check.go for what parking needs", n, err)
		}
	}
}

// A variant is a net/http that does something else: what its connections do with calls.
type variant struct {
	net.Conn
	hook     func(next func(net.Conn, http.ConnState), c net.Conn, s http.ConnState)
	read     func(c net.Conn, b []byte) (int, error)
	write    func(c net.Conn, b []byte) (int, error)
	deadline func(c net.Conn, at time.Time) error
	close    func(c net.Conn) error
}

func (v *variant) Read(b []byte) (int, error) {
	if v.read == nil {
		return v.Conn.Read(b)
	}
	return v.read(v.Conn, b)
}

func (v *variant) Write(b []byte) (int, error) {
	if v.write == nil {
		return v.Conn.Write(b)
	}
	return v.write(v.Conn, b)
}

func (v *variant) SetReadDeadline(at time.Time) error {
	if v.deadline == nil {
		return v.Conn.SetReadDeadline(at)
	}
	return v.deadline(v.Conn, at)
}

func (v *variant) Close() error {
	if v.close == nil {
		return v.Conn.Close()
	}
	return v.close(v.Conn)
}

// variantListener has connections that behave as those of a variant.
type variantListener struct {
	net.Listener
	v func() *variant
}

func (l variantListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	v := l.v()
	v.Conn = c
	return v, nil
}

// serveVariant is serveNetHTTP with connections of v.
func serveVariant(v func() *variant) serveFunc {
	return func(ln net.Listener, hook func(net.Conn, http.ConnState), w io.Writer) {
		serveNetHTTP(variantListener{ln, v}, func(c net.Conn, s http.ConnState) {
			x := c.(*variant)
			if x.hook != nil {
				x.hook(hook, x.Conn, s)
				return
			}
			hook(x.Conn, s)
		}, w)
	}
}

// An unsupported net/http is one with which parking would go wrong.
type unsupported struct {
	name, want string // want is in the error of the check
	v          func() *variant
}

// readVariants call Read in another way.
var readVariants = []unsupported{
	{"a shorter buffer between requests", "its last Read has room for", func() *variant {
		size := 4096
		return &variant{read: func(c net.Conn, b []byte) (int, error) {
			if len(b) == 1 {
				return c.Read(b)
			}
			b = b[:min(len(b), size)]
			size = 2048
			return c.Read(b)
		}}
	}},
	{"a Read with the whole buffer, whatever it has", "its last Read has room for 4096 bytes, with 1 in a buffer of 4096", func() *variant {
		return &variant{read: func(c net.Conn, b []byte) (int, error) {
			if len(b) == 1 {
				return c.Read(b)
			}
			whole := make([]byte, 4096)
			n, err := c.Read(whole)
			return copy(b, whole[:n]), err
		}}
	}},
	{"Read again after the error", "last read, last read", func() *variant {
		return &variant{read: func(c net.Conn, b []byte) (int, error) {
			n, err := c.Read(b)
			if err != nil && len(b) > 1 {
				return c.Read(b)
			}
			return n, err
		}}
	}},
}

// stateVariants report other states.
var stateVariants = []unsupported{
	{"no StateIdle", "it is idle 0 times", func() *variant {
		return &variant{hook: func(next func(net.Conn, http.ConnState), c net.Conn, s http.ConnState) {
			if s != http.StateIdle {
				next(c, s)
			}
		}}
	}},
	{"StateIdle before the response", "it is idle 2 times", func() *variant {
		return &variant{hook: func(next func(net.Conn, http.ConnState), c net.Conn, s http.ConnState) {
			if s == http.StateActive {
				next(c, http.StateIdle)
			}
			next(c, s)
		}}
	}},
	{"another connection in the hook", "state of another connection", func() *variant {
		return &variant{hook: func(next func(net.Conn, http.ConnState), c net.Conn, s http.ConnState) {
			if s == http.StateIdle {
				next(struct{ net.Conn }{c}, s)
			}
			next(c, s)
		}}
	}},
}

// deadlineVariants set other deadlines.
var deadlineVariants = []unsupported{
	{"no deadline between requests", "it calls \"idle, last read, close, closed\"", func() *variant {
		return &variant{deadline: func(c net.Conn, at time.Time) error {
			if !at.IsZero() && at.Before(time.Now()) {
				return c.SetReadDeadline(at) // which ends the background read
			}
			return nil
		}}
	}},
	{"two deadlines between requests", "deadline, deadline", func() *variant {
		return &variant{deadline: func(c net.Conn, at time.Time) error {
			c.SetReadDeadline(at)
			return c.SetReadDeadline(at)
		}}
	}},
	{"one deadline for the next request", "a line of the next request, it calls", func() *variant {
		after := 0
		return &variant{
			hook: func(next func(net.Conn, http.ConnState), c net.Conn, s http.ConnState) {
				after = 0
				next(c, s)
			},
			deadline: func(c net.Conn, at time.Time) error {
				if after++; after == 2 && at.After(time.Now()) {
					return nil
				}
				return c.SetReadDeadline(at)
			},
		}
	}},
}

// endVariants write or close at another time, or not at all.
var endVariants = []unsupported{
	{"a response that is written late", "a response is not complete", func() *variant {
		return &variant{write: func(_ net.Conn, b []byte) (int, error) { return len(b), nil }}
	}},
	{"a write after the error of Read", "it writes 3 bytes after the responses", func() *variant {
		return &variant{close: func(c net.Conn) error {
			io.WriteString(c, "bye")
			return c.Close()
		}}
	}},
	{"no Close", "last read, closed", func() *variant { return &variant{close: func(net.Conn) error { return nil }} }},
}

// The check finds each way in which another net/http could make parking wrong, and reports it.
func TestCheckRefuses(t *testing.T) {
	for _, x := range slices.Concat(readVariants, stateVariants, deadlineVariants, endVariants) {
		t.Run(x.name, func(t *testing.T) {
			n, err := check(serveVariant(x.v))
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), x.want) {
				t.Errorf("%d, %v, want %q", n, err, x.want)
			}
		})
	}
}

// A log line, and a server that never serves, are reported as well: the check ends at its limit.
func TestCheckEnds(t *testing.T) {
	_, err := check(func(ln net.Listener, hook func(net.Conn, http.ConnState), w io.Writer) {
		serveNetHTTP(ln, func(c net.Conn, s http.ConnState) {
			hook(c, s)
			if s == http.StateIdle {
				io.WriteString(w, "idle\n")
			}
		}, w)
	})
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "log idle") {
		t.Error(err)
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := check(func(ln net.Listener, _ func(net.Conn, http.ConnState), _ io.Writer) {
			c, _ := ln.Accept()
			c.Read(make([]byte, 4096))
			ln.Accept()
		})
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "has not ended") || time.Since(start) != checkLimit {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
