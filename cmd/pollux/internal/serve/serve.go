// Package serve has the servers of "pollux serve": their protocols, addresses, figures and
// metrics.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/certs"
	"github.com/pollux-io/pollux/cmd/pollux/internal/webfiles"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/tlsconn"
)

// HTTP is the protocol that serves files.
const HTTP = "http"

// Config is the configuration of a server.
type Config struct {
	Protocol  string           // echo, discard, chargen or HTTP
	TLS       *certs.Source    // nil: without TLS
	Dir       string           // of HTTP
	Files     webfiles.Options // of HTTP
	Addresses []Address
	Inherited []Inherited
	Loops     int
	Backend   string
	MaxConns  int
	Refuse    bool // above MaxConns, instead of leaving them in the backlog
	Idle      time.Duration
	BusyPoll  time.Duration
	Drain     time.Duration // how long connections may take to finish at the end
	Metrics   string        // address of the metrics; empty: none
	Log       io.Writer     // for the library's warnings
}

// Server is a group with its listeners.
type Server struct {
	config   Config
	protocol protocol
	tls      *tls.Config // nil: without TLS
	group    *loop.Group
	where    []string
	web      *web // of HTTP
	metrics  *metricsServer
	tally    *tally
	sampler  sampler
}

// tally has the counts that the group does not have.
type tally struct {
	packetsDropped  atomic.Uint64 // answers that would have blocked, or that the kernel refused
	handshakeErrors atomic.Uint64 // of TLS
}

// Start begins to serve. It closes the inherited sockets, also if it fails.
func Start(config Config) (*Server, error) {
	s := &Server{config: config, tally: &tally{}}
	err := s.start()
	for _, i := range config.Inherited {
		i.Close()
	}
	if err != nil {
		s.stop(0)
		return nil, err
	}
	return s, nil
}

func (s *Server) start() (err error) {
	c := &s.config
	s.protocol = protocols[c.Protocol]
	if c.TLS != nil {
		s.tls = c.TLS.Config()
	}
	config := loop.Config{
		Loops: c.Loops, Backend: c.Backend, BusyPoll: c.BusyPoll,
		MaxConns: c.MaxConns, RefuseAbove: c.Refuse, IdleTimeout: c.Idle,
		HighWatermarkBytes: highWatermark,
		Logger:             slog.New(slog.NewTextHandler(c.Log, nil)),
	}
	if c.Protocol == HTTP {
		// net/http has an idle timeout of its own, which does not slow down Write (loop.Conn.TryWrite).
		config.IdleTimeout, config.WriteTimeout = 0, stalledTimeout
	}
	if s.group, err = loop.NewGroup(config); err != nil {
		return err
	}
	if c.Protocol == HTTP {
		if s.web, err = newWeb(s, config.Logger); err != nil {
			return err
		}
	}
	for _, i := range c.Inherited {
		at, err := i.serve(s)
		if err != nil {
			return fmt.Errorf("serve %s: %w", i, err)
		}
		s.where = append(s.where, at)
	}
	for _, a := range c.Addresses {
		at, err := s.listen(a)
		if err != nil {
			return fmt.Errorf("%w%s", err, hint(a, err))
		}
		s.where = append(s.where, at)
	}
	if c.Metrics != "" {
		if s.metrics, err = serveMetrics(c.Metrics, s); err != nil {
			return fmt.Errorf("serve metrics: %w%s", err, hint(Address{"tcp", c.Metrics}, err))
		}
	}
	return nil
}

func (s *Server) listen(a Address) (string, error) {
	if strings.HasPrefix(a.Network, "udp") {
		p, err := s.group.ListenPacket(a.Network, a.At, s.packetHandler)
		if err != nil {
			return "", err
		}
		return url(p.Addr()), nil
	}
	if s.web != nil {
		return s.web.serve(netconn.Listen(s.group, a.Network, a.At))
	}
	l, err := s.group.Listen(a.Network, a.At, s.handler)
	if err != nil {
		return "", err
	}
	return s.url(l.Addr()), nil
}

// handler returns the handler of a connection that was accepted.
func (s *Server) handler(c *loop.Conn) loop.Handler {
	h := s.protocol.conn(c)
	if s.tls == nil {
		return h
	}
	return tlsconn.Options{HandshakeFailed: s.handshakeFailed}.Server(s.tls, h)
}

// handshakeFailed counts a failed handshake, and does not log it: on a public address most of them are those of
// scanners.
func (s *Server) handshakeFailed(*loop.Conn, error) { s.tally.handshakeErrors.Add(1) }

func hint(a Address, err error) string {
	switch {
	case a.Network == "unix" && errors.Is(err, syscall.EADDRINUSE):
		return pathHint(a.At)
	case a.Network == "unix":
	case errors.Is(err, syscall.EADDRINUSE):
		return "; another program, or another --listen, uses it (" + socketLister(a.Network) + " shows which)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "; this machine has no such address"
	case errors.Is(err, syscall.EACCES):
		return "; ports below 1024 usually require root"
	}
	return ""
}

// socketLister returns the command that shows which program uses an address.
func socketLister(network string) string {
	switch {
	case runtime.GOOS != "linux":
		return "netstat -an"
	case strings.HasPrefix(network, "udp"):
		return "ss -lunp"
	}
	return "ss -ltnp"
}

// pathHint advises to remove the path only if it is a socket.
func pathHint(path string) string {
	switch info, err := os.Lstat(path); {
	case err != nil: // removed meanwhile; or an abstract name, which is not a path
		return "; another program uses it"
	case info.Mode()&os.ModeSocket == 0:
		return "; it exists and is not a socket: give another path"
	}
	return "; if no server uses the path any more, remove it"
}

func url(a net.Addr) string { return a.Network() + "://" + a.String() }

// url returns the address of a stream listener, with tls for TCP with TLS.
func (s *Server) url(a net.Addr) string {
	if s.tls != nil && a.Network() == "tcp" {
		return "tls://" + a.String()
	}
	return url(a)
}

// Line returns a line with the protocol, the addresses and the backend.
func (s *Server) Line() string {
	loops := "1 loop"
	if n := len(s.group.Loops()); n != 1 {
		loops = fmt.Sprintf("%d loops", n)
	}
	line := fmt.Sprintf("%s on %s by %s, %s", s.config.Protocol, strings.Join(s.where, ", "), s.group.Backend(), loops)
	if s.config.TLS != nil && s.config.TLS.SelfSigned() {
		line += "; self-signed certificate, SHA-256 fingerprint " + s.config.TLS.Fingerprint()
	}
	if s.metrics != nil {
		line += "; metrics on " + s.metrics.url()
	}
	return line
}

// Conns returns the number of open connections.
func (s *Server) Conns() int { return s.group.Conns() }

// Stop stops accepting, lets the connections finish, and after Config.Drain closes the
// remaining ones; then it returns an error with their number.
func (s *Server) Stop() error { return s.stop(s.config.Drain) }

func (s *Server) stop(drain time.Duration) error {
	if s.group == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	if s.web != nil {
		s.web.shutdown(ctx)
	}
	err := s.group.Shutdown(ctx)
	if s.web != nil {
		s.web.close()
	}
	if s.metrics != nil {
		s.metrics.close() // it answers until the last connection is closed
	}
	var cut *loop.ShutdownError
	if errors.As(err, &cut) && cut.Loops == 0 && cut.Offloaded == 0 {
		return fmt.Errorf("closed %s that did not finish within %v", connections(cut.Conns), drain)
	}
	return err
}
