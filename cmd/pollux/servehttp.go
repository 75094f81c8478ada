package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/certs"
	"github.com/pollux-io/pollux/cmd/pollux/internal/serve"
)

// checkHTTP returns an error if the arguments of http do not fit the protocol.
func (c *serveCmd) checkHTTP() error {
	isHTTP := c.Protocol == serve.HTTP
	switch {
	case isHTTP && c.Dir == "":
		return errors.New("serve http: the directory is missing; write pollux serve http /srv/www")
	case !isHTTP && c.Dir != "":
		return fmt.Errorf("unexpected argument %s; pollux serve --help shows the usage", printableValue(c.Dir))
	}
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"--list", c.List},
		{"--hidden", c.Hidden},
	} {
		if f.given && !isHTTP {
			return fmt.Errorf("%s is for http; write pollux serve http DIR %s", f.name, f.name)
		}
	}
	return nil
}

// checkTLS returns an error if the flags of TLS do not fit each other.
func (c *serveCmd) checkTLS() error {
	switch {
	case c.TLSSelfSigned && c.TLSCert+c.TLSKey != "":
		return errors.New("--tls-self-signed makes a certificate; give it, or --tls-cert and --tls-key")
	case c.TLSCert != "" && c.TLSKey == "":
		return errors.New("--tls-cert needs --tls-key; write --tls-cert cert.pem --tls-key key.pem")
	case c.TLSKey != "" && c.TLSCert == "":
		return errors.New("--tls-key needs --tls-cert; write --tls-cert cert.pem --tls-key key.pem")
	}
	return nil
}

// checkStreams returns an error if what is served over streams only has the address of a UDP socket.
func (c *serveCmd) checkStreams(addresses []serve.Address) error {
	what := ""
	switch {
	case c.Protocol == serve.HTTP:
		what = "http"
	case c.TLSSelfSigned || c.TLSCert != "":
		what = "TLS"
	}
	for _, a := range addresses {
		if what != "" && strings.HasPrefix(a.Network, "udp") {
			return fmt.Errorf("--listen %s://%s: %s needs TCP or Unix sockets; write --listen tcp://%s", a.Network, a.At, what, a.At)
		}
	}
	return nil
}

// certificate returns what the flags of TLS give, or nil.
func (c *serveCmd) certificate(addresses []serve.Address) (*certs.Source, error) {
	switch {
	case c.TLSCert != "":
		return certs.Load(c.TLSCert, c.TLSKey)
	case c.TLSSelfSigned:
		return certs.SelfSign(hosts(addresses))
	}
	return nil, nil
}

// hosts returns the IP addresses of addresses; without a host, an unspecified one.
func hosts(addresses []serve.Address) (all []netip.Addr) {
	for _, a := range addresses {
		host, _, err := net.SplitHostPort(a.At)
		if err != nil {
			continue // a path
		}
		if host == "" {
			host = "::"
		}
		if ip, err := netip.ParseAddr(host); err == nil {
			all = append(all, ip)
		}
	}
	return all
}

// watchCertificate warns if clients will refuse the certificate, and makes SIGHUP read its files again.
func (c *serveCmd) watchCertificate(ctx context.Context, source *certs.Source, show *display) {
	warn := func() {
		if w := source.Warning(time.Now()); w != "" {
			fmt.Fprintln(show, "pollux:", w)
		}
	}
	warn()
	if source.SelfSigned() {
		return // SIGHUP ends the server
	}
	onHangup(ctx, func() {
		if err := source.Reload(); err != nil {
			fmt.Fprintf(show, "pollux: reload the certificate: %v; the previous one stays in use\n", err)
			return
		}
		if !c.Quiet {
			fmt.Fprintf(show, "pollux: the certificate was reloaded: SHA-256 %s, valid until %s\n", source.Fingerprint(), source.NotAfter().UTC().Format(time.DateTime+" UTC"))
		}
		warn()
	})
}
