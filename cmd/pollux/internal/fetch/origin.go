package fetch

import (
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strings"

	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
)

// Credentials are taken out of a URL as soon as it has been parsed. URLs are printed in
// many places, and none of these can then print a password.

// credentials are a user name and a password. Printed, they are redact.Mask.
type credentials struct{ user, password string }

// Format implements fmt.Formatter.
func (c *credentials) Format(f fmt.State, _ rune) { io.WriteString(f, redact.Mask) }

// separate returns u without its user name and password, and these; nil if there are
// none.
func separate(u *url.URL) (*url.URL, *credentials) {
	if u.User == nil {
		return u, nil
	}
	password, _ := u.User.Password()
	c := &credentials{u.User.Username(), password}
	bare := *u
	bare.User = nil
	if *c == (credentials{}) {
		return &bare, nil
	}
	return &bare, c
}

// sameOrigin reports whether a and b have the same scheme, host and port. Only then do
// credentials for a follow a redirect to b.
func sameOrigin(a, b *url.URL) bool {
	p, errA := port(a)
	q, errB := port(b)
	return errA == nil && errB == nil && p == q && strings.EqualFold(a.Scheme, b.Scheme) && sameHost(a.Hostname(), b.Hostname())
}

// sameHost does not look at case and at the ways to write an address.
func sameHost(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	if errX == nil && errY == nil {
		return x == y
	}
	return strings.EqualFold(a, b)
}
