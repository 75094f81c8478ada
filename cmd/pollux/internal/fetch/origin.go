package fetch

import (
	"net/netip"
	"net/url"
	"strings"
)

// Credentials are removed from a URL as soon as it is parsed. URLs are printed in
// many places, and none of these can then print a password.

// credentials return a user name and a password; nil if there are none. They are a
// function because package fmt prints the fields of any struct, exported or not.
type credentials func() (user, password string)

// separate returns u without its user name and password, and these as credentials.
func separate(u *url.URL) (*url.URL, credentials) {
	if u.User == nil {
		return u, nil
	}
	user := u.User.Username()
	password, _ := u.User.Password()
	bare := *u
	bare.User = nil
	if user == "" && password == "" {
		return &bare, nil
	}
	return &bare, func() (string, string) { return user, password }
}

// sameOrigin reports whether a and b have the same scheme, host and port. Only then are
// credentials for a sent to b after a redirect.
func sameOrigin(a, b *url.URL) bool {
	p, errA := port(a)
	q, errB := port(b)
	return errA == nil && errB == nil && p == q && strings.EqualFold(a.Scheme, b.Scheme) && sameHost(a.Hostname(), b.Hostname())
}

// sameHost ignores case and different spellings of an IP address.
func sameHost(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	if errX == nil && errY == nil {
		return x == y
	}
	return strings.EqualFold(a, b)
}
