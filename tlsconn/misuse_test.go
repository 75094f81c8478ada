package tlsconn_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/tlsconn"
)

// A mistake of the program that closes each accepted connection is logged as an error: nothing else reports it.
func TestUnusableHandlersAreLogged(t *testing.T) {
	for name, c := range map[string]struct {
		handler loop.Handler
		want    string
	}{
		"no config":      {tlsconn.Server(nil, dataOnly{}), "the tls.Config is nil"},
		"no handler":     {tlsconn.Server(&tls.Config{}, nil), "a handler above the layer is needed, not nil"},
		"TLS in TLS":     {tlsconn.Server(&tls.Config{}, tlsconn.Server(&tls.Config{}, dataOnly{})), "there cannot be a second one"},
		"no server name": {tlsconn.Client(&tls.Config{}, dataOnly{}), "a TLS client needs tls.Config.ServerName"},
		"renegotiation":  {tlsconn.Server(&tls.Config{Renegotiation: tls.RenegotiateFreelyAsClient}, dataOnly{}), "set it to tls.RenegotiateNever"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer // of the loop
				n := looptest.New(t, looptest.Config{})
				host, other := n.Host(), n.Host()
				g := host.NewGroup(loop.Config{Loops: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				ln := must(g.Listen("tcp", host.Addr().String()+":443", func(*loop.Conn) loop.Handler { return c.handler }))
				raw := must(other.Dial("tcp", ln.Addr().String()))
				defer raw.Close()
				io.WriteString(raw, "GET / HTTP/1.1\r\n\r\n")
				if _, err := raw.Read(make([]byte, 1)); err == nil {
					t.Error("the connection was not closed")
				}
				settle()
				if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "level=ERROR") || !strings.Contains(s, c.want) {
					t.Errorf("the log is %q, want one error with %q", s, c.want)
				}
			})
		})
	}
}
