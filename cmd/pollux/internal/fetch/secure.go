package fetch

import (
	"cmp"
	"crypto/tls"
	"math"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

const (
	// sessions is the maximum number of TLS sessions kept for resumption, one for each host.
	sessions = 1024
	// noLimit is the time limit of a handshake if neither Config.Connect nor Config.Idle limits it.
	noLimit = time.Duration(math.MaxInt64)
)

func isTLS(u *url.URL) bool { return strings.EqualFold(u.Scheme, "https") }

// A client does the TLS handshakes of https URLs. All transfers share it.
type client struct {
	config  *tls.Config // without a ServerName
	options tlsconn.Options
}

func newClient(cfg *Config) client {
	return client{
		config: &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
			RootCAs: cfg.Roots, InsecureSkipVerify: cfg.Insecure,
			ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
		},
		// The context of the dial applies Config.Connect, to the handshake too. A connection has no idle timeout before
		// the end of the handshake, so without Connect a silent server needs another limit.
		options: tlsconn.Options{HandshakeTimeout: cmp.Or(max(cfg.Connect, 0), max(cfg.Idle, 0), noLimit)},
	}
}

// handler returns a handler of the connection to host that does the handshake, and then calls h.
func (c *client) handler(host string, h loop.Handler) loop.Handler {
	config := c.config.Clone()
	config.ServerName = certificateName(host)
	return c.options.Client(config, h)
}

// certificateName returns the name that a certificate of host must have: no certificate has the zone of an address
// (RFC 6874, section 4).
func certificateName(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.WithZone("").String()
	}
	return host
}
