package main

import (
	"errors"
	"fmt"
	"strings"

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
