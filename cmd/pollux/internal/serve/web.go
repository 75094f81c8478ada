package serve

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/webfiles"
)

// Limits of a client. The time of a whole response has no limit, as files may be large and networks slow.
const (
	headTimeout    = 10 * time.Second // for a request's head, and for the handshake of TLS
	requestTimeout = time.Minute      // for all of a request
	stalledTimeout = time.Minute      // for a peer that takes no bytes (loop.Config.WriteTimeout)
	idleTimeout    = 2 * time.Minute  // between requests, unless Config.Idle is set
	maxHeadBytes   = 64 << 10
)

// web serves the files of a directory by package net/http, over package netconn.
type web struct {
	server  *http.Server
	secure  bool // with TLS; Serve sets the server's TLSConfig also without
	root    *os.Root
	log     *slog.Logger
	serving sync.WaitGroup // calls of Serve
}

func newWeb(s *Server, logger *slog.Logger) (*web, error) {
	c := &s.config
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w; give a directory that this user can read", c.Dir, err)
	}
	w := &web{root: root, log: logger}
	w.server = &http.Server{
		Handler:           webfiles.Handler(root, c.Files),
		ReadHeaderTimeout: headTimeout, ReadTimeout: requestTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeadBytes,
		ErrorLog:       log.New(&errorLog{logger: logger, tally: s.tally}, "", 0),
	}
	if c.Idle > 0 {
		w.server.IdleTimeout = c.Idle
	}
	if s.tls != nil {
		w.secure, w.server.TLSConfig = true, s.tls
	}
	return w, nil
}

// serve serves l in the background, and returns its address, or err.
func (w *web) serve(l net.Listener, err error) (string, error) {
	if err != nil {
		return "", err
	}
	w.serving.Go(func() {
		serve := w.server.Serve
		if w.secure {
			serve = func(l net.Listener) error { return w.server.ServeTLS(l, "", "") }
		}
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			w.log.Error("pollux: the listener has stopped", "addr", l.Addr(), "error", err)
		}
	})
	a := l.Addr()
	switch {
	case a.Network() == "unix":
		return url(a), nil
	case w.secure:
		return "https://" + a.String(), nil
	}
	return "http://" + a.String(), nil
}

// shutdown stops accepting, and closes each connection once it is idle, until ctx ends.
func (w *web) shutdown(ctx context.Context) { w.server.Shutdown(ctx) }

// close ends the calls of Serve, after the loops have ended.
func (w *web) close() {
	w.server.Close()
	w.serving.Wait()
	w.root.Close()
}
