package tlsconn_test

import (
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/grouptest"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// Where tests run: package grouptest.
var (
	newGroup   = grouptest.New
	onBackends = grouptest.OnBackends
)

// versions runs f with configurations of both versions of TLS.
func versions(t *testing.T, f func(t *testing.T, server, client *tls.Config)) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(v), func(t *testing.T) {
			server, client := tlstest.Configs(v)
			f(t, server, client)
		})
	}
}

// A recorder is a handler that records its callbacks. It echoes what it receives, if echo is set.
type recorder struct {
	echo bool
	// half keeps the connection open after the peer's end, until the test closes it.
	half bool

	opened chan *loop.Conn
	ended  chan struct{} // the peer's end
	closed chan error

	mu    sync.Mutex
	got   []byte
	order string // a letter for each callback: Opened, Data, ReadClosed, Closed
}

func newRecorder() *recorder {
	return &recorder{opened: make(chan *loop.Conn, 1), ended: make(chan struct{}), closed: make(chan error, 1)}
}

func (r *recorder) note(letter string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if letter != "D" || r.order == "" || r.order[len(r.order)-1] != 'D' {
		r.order += letter
	}
}

func (r *recorder) Opened(c *loop.Conn) {
	r.note("O")
	r.opened <- c
}

func (r *recorder) Data(c *loop.Conn, b []byte) (int, error) {
	r.note("D")
	r.mu.Lock()
	r.got = append(r.got, b...)
	r.mu.Unlock()
	if r.echo {
		if _, err := c.Write(b); err != nil {
			return len(b), err
		}
	}
	return len(b), nil
}

func (r *recorder) ReadClosed(c *loop.Conn) {
	r.note("R")
	close(r.ended)
	if !r.half {
		c.Close()
	}
}

func (r *recorder) Closed(_ *loop.Conn, why error) {
	r.note("C")
	r.closed <- why
}

func (r *recorder) received() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]byte(nil), r.got...)
}

func (r *recorder) callbacks() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.order
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func mustTruncated(t *testing.T, why error) {
	t.Helper()
	if !errors.Is(why, io.ErrUnexpectedEOF) || !errors.Is(why, tlsconn.ErrTruncated) || errors.Is(why, io.EOF) {
		t.Errorf("Closed got %v, want ErrTruncated", why)
	}
}

// text returns n bytes that differ at each position that matters.
func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

var (
	_ tlsconn.Dialer = (*loop.Group)(nil)
	_ tlsconn.Dialer = (*dns.Dialer)(nil)
)
