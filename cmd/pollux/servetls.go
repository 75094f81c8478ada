package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/certs"
	"github.com/pollux-io/pollux/cmd/pollux/internal/serve"
)

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
			fmt.Fprintf(show, "pollux: the certificate was reloaded: SHA-256 %s, valid until %s\n", source.Fingerprint(), source.Expiry())
		}
		warn()
	})
}
