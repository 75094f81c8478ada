package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	queue "github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/cmd/pollux/internal/columns"
	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
	"github.com/pollux-io/pollux/cmd/pollux/internal/serve"
	"github.com/pollux-io/pollux/cmd/pollux/internal/webfiles"
	"github.com/pollux-io/pollux/loop"
)

const (
	defaultListen = "127.0.0.1:7000"
	// liveInterval is the interval at which figures on a terminal are redrawn.
	liveInterval = 500 * time.Millisecond
	// spareColumns are left free after the figures, for characters that the terminal echoes.
	spareColumns = 3
)

type serveCmd struct {
	Protocol string `arg:"" enum:"echo,discard,chargen,http" help:"echo sends back what it receives (RFC 862), discard drops it (RFC 863), chargen sends endless text (RFC 864), http serves the files of DIR."`
	Dir      string `arg:"" optional:"" help:"http: the directory. Nothing outside of it is served: symbolic links that lead out of it, and absolute ones, are not followed."`

	Listen      []string      `short:"l" sep:"none" placeholder:"ADDRESS" help:"Listen at tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH, or HOST:PORT, which is TCP; the host is an IP address, localhost, or empty for all addresses. May be repeated. Default: 127.0.0.1:7000, unless systemd passes sockets."`
	Loops       int           `default:"0" help:"Number of loops; 0: one for each processor."`
	Backend     string        `placeholder:"NAME" help:"The kernel mechanism to use; pollux doctor lists the backends. POLLUX_BACKEND takes precedence."`
	MaxConns    int           `default:"0" help:"Maximum number of open connections; further ones wait in the backlog. 0: only file descriptors limit them."`
	Refuse      bool          `help:"Close connections above --max-conns immediately instead."`
	IdleTimeout time.Duration `default:"0s" help:"Close connections that neither receive nor send for this time; 0s: never, and for http 2m between requests."`
	BusyPoll    string        `default:"adaptive" placeholder:"TIME" help:"How long to poll the kernel repeatedly before each sleep: a time, off, or adaptive, which polls for microseconds and only while that costs less than sleeping."`
	Drain       time.Duration `default:"10s" help:"How long connections may take to finish after SIGINT, SIGTERM or SIGHUP."`
	Metrics     string        `placeholder:"HOST:PORT" help:"Serve metrics in Prometheus's format, at http://HOST:PORT/metrics."`

	List          bool   `help:"http: list directories that have no index.html."`
	Hidden        bool   `help:"http: serve names that begin with a dot, too. Without it, only /.well-known is."`
	TLSCert       string `placeholder:"FILE" help:"Use TLS over TCP and Unix sockets, with the certificate of this file in PEM format, and those of its issuers behind it. SIGHUP reads it and the key again."`
	TLSKey        string `placeholder:"FILE" help:"The private key of --tls-cert, in PEM format."`
	TLSSelfSigned bool   `help:"Use TLS, for trying it, with a certificate that is made for this run, and print its SHA-256 fingerprint."`

	Every      time.Duration `default:"10s" help:"Without a terminal: interval at which figures are printed if they have changed; 0s: never."`
	Quiet      bool          `short:"q" help:"Print no figures."`
	NoProgress bool          `help:"Print lines instead of live figures, also on a terminal."`
}

func (serveCmd) Help() string {
	return `Serves one of three small protocols, or files over HTTP/1.1 and HTTP/2, with the library's executor, until SIGINT, SIGTERM or SIGHUP; a second signal kills it. With --tls-cert, SIGHUP reads the certificate again instead; if that fails, the previous one stays in use. When it is ready, it prints one line with its addresses and its backend on standard output. Figures and warnings are printed on standard error. Sockets that systemd passes (LISTEN_FDS) are served too.

Examples:

  pollux serve echo
  pollux serve echo --listen :7000 --listen udp://:7000 --listen unix:///run/echo.sock
  pollux serve discard --listen tcp://[::1]:9 --max-conns 10000 --idle-timeout 1m
  pollux serve chargen --loops 1 --metrics 127.0.0.1:9100
  pollux serve echo --tls-self-signed
  pollux serve http . --list
  pollux serve http /srv/www --listen :443 --tls-cert cert.pem --tls-key key.pem`
}

// config checks the flags and returns the server's configuration.
func (c *serveCmd) config() (serve.Config, error) {
	config := serve.Config{
		Protocol: c.Protocol, Dir: c.Dir, Files: webfiles.Options{List: c.List, Hidden: c.Hidden}, Loops: c.Loops, Backend: c.Backend, MaxConns: c.MaxConns, Refuse: c.Refuse,
		Idle: c.IdleTimeout, Drain: c.Drain, Metrics: c.Metrics,
	}
	var err error
	if config.BusyPoll, err = parseBusyPoll(c.BusyPoll); err != nil {
		return config, err
	}
	for _, text := range c.Listen {
		a, err := serve.ParseAddress(text)
		if err != nil {
			return config, fmt.Errorf("--listen %w", err)
		}
		config.Addresses = append(config.Addresses, a)
	}
	for _, err := range []error{c.checkHTTP(), c.checkTLS(), c.checkStreams(config.Addresses)} {
		if err != nil {
			return config, err
		}
	}
	if c.Refuse && c.MaxConns == 0 {
		return config, fmt.Errorf("--refuse needs --max-conns; write --refuse --max-conns 10000")
	}
	if err := checkBackend(c.Backend); err != nil {
		return config, err
	}
	if c.Metrics != "" {
		if err := serve.CheckHostPort(c.Metrics); err != nil {
			return config, fmt.Errorf("--metrics %w", err)
		}
	}
	return config, nil
}

// parseBusyPoll returns the value of loop.Config.BusyPoll.
func parseBusyPoll(text string) (time.Duration, error) {
	switch text {
	case "adaptive":
		return 0, nil
	case "off", "0", "0s":
		return -1, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > queue.MaxBusyPoll {
		r := rules["serve busy-poll"]
		return 0, &flagError{flag: "--busy-poll", value: text, accept: r.text, write: "--busy-poll " + r.example}
	}
	return max(d, 1), nil
}

// checkBackend returns an error if this build has no backend of that name. A backend that the
// machine does not support is reported later: it is not wrong usage.
func checkBackend(name string) error {
	var names []string
	for _, b := range loop.Backends() {
		names = append(names, b.Name)
	}
	if name == "" || slices.Contains(names, name) {
		return nil
	}
	return fmt.Errorf("--backend %s: this build has %s; write --backend %s", printableValue(name), strings.Join(names, ", "), names[0])
}

func (c *serveCmd) Run(ctx context.Context, std streams) error {
	config, err := c.config()
	if err != nil {
		return usageError{err}
	}
	if config.Inherited, err = serve.Inherit(); err != nil {
		return err
	}
	if len(config.Addresses)+len(config.Inherited) == 0 {
		a, err := serve.ParseAddress(defaultListen)
		if err != nil {
			return err
		}
		config.Addresses = append(config.Addresses, a)
	}
	if config.TLS, err = c.certificate(config.Addresses); err != nil {
		return err
	}
	show := c.display(std)
	defer show.close()
	config.Log = show
	if config.TLS != nil {
		c.watchCertificate(ctx, config.TLS, show)
	}
	return c.serve(ctx, config, show, std)
}

// serve serves until ctx ends.
func (c *serveCmd) serve(ctx context.Context, config serve.Config, show *display, std streams) error {
	began := time.Now()
	s, err := serve.Start(config)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(std.out, s.Line()); err != nil {
		s.Stop()
		return fmt.Errorf("write to standard output: %w", err)
	}
	c.watch(ctx, s, show, std)
	if n := s.Conns(); n > 0 && !c.Quiet {
		fmt.Fprintf(show, "pollux: %v: open connections have %v to finish: %d\n", context.Cause(ctx), c.Drain, n)
	}
	err = s.Stop()
	show.close()
	if !c.Quiet {
		fmt.Fprintln(std.err, "pollux:", s.Figures(nil).Summary(time.Since(began)))
	}
	return err
}

// watch shows figures until ctx ends.
func (c *serveCmd) watch(ctx context.Context, s *serve.Server, show *display, std streams) {
	interval := c.Every
	if show.live != nil {
		interval = liveInterval
	}
	if interval == 0 || c.Quiet {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last := s.NoFigures() // connections before the first tick are a change, too
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := s.Figures(last)
		if show.live != nil {
			show.live.Show(now.Fit(columns.OfTerminal(std.err) - spareColumns))
		} else if now.Changed(last) {
			fmt.Fprintln(show, "pollux:", now.Line())
		}
		last = now
	}
}

// display is standard error: with live figures below the lines, if it is a terminal.
type display struct {
	io.Writer
	live *report.Live
}

func (c *serveCmd) display(std streams) *display {
	if c.Quiet || c.NoProgress || !isTerminal(std.err) {
		return &display{Writer: std.err}
	}
	live := report.NewLive(std.err.(*os.File), liveInterval)
	return &display{Writer: live, live: live}
}

// close leaves the last figures on the terminal. Later output is printed below them.
func (d *display) close() {
	if d.live != nil {
		d.live.Close()
	}
}
