package addrorder

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// A policy is a line of the policy table.
type policy struct {
	prefix     netip.Prefix
	precedence uint8 // up to 50
	label      uint8
}

// policies is the default policy table of RFC 6724, section 2.1, the longest prefixes first.
var policies = [...]policy{
	{netip.MustParsePrefix("::1/128"), 50, 0},       // loopback
	{netip.MustParsePrefix("::ffff:0:0/96"), 35, 4}, // IPv4
	{netip.MustParsePrefix("::/96"), 1, 3},          // IPv4-compatible IPv6, deprecated
	{netip.MustParsePrefix("2001::/32"), 5, 5},      // Teredo
	{netip.MustParsePrefix("2002::/16"), 30, 2},     // 6to4
	{netip.MustParsePrefix("3ffe::/16"), 1, 12},     // 6bone, returned
	{netip.MustParsePrefix("fec0::/10"), 1, 11},     // site-local, deprecated
	{netip.MustParsePrefix("fc00::/7"), 3, 13},      // unique local
	{netip.MustParsePrefix("::/0"), 40, 1},          // other IPv6
}

// policyOf returns the line with the longest prefix of a. IPv4 addresses are looked up as IPv4 in
// IPv6.
func policyOf(a netip.Addr) policy {
	a = netip.AddrFrom16(a.As16())
	for _, p := range policies {
		if p.prefix.Contains(a) {
			return p
		}
	}
	panic("addrorder: no policy for " + a.String())
}

// A scope is a range in which an address is valid, as the scope field of IPv6 multicast addresses
// has it: up to 15 (RFC 6724, section 3.1).
type scope uint8

const (
	scopeLinkLocal scope = 0x2
	scopeSiteLocal scope = 0x5
	scopeGlobal    scope = 0xe
	maxScope       scope = 0xf
)

var siteLocal = netip.MustParsePrefix("fec0::/10") // deprecated by RFC 3879, but still in RFC 6724

// scopeOf returns the scope of a plain address. Loopback and autoconfigured addresses of both
// families are link-local (RFC 6724, sections 3.2 and 3.4), unique local ones are global.
func scopeOf(a netip.Addr) scope {
	switch {
	case a.IsLoopback(), a.IsLinkLocalUnicast():
		return scopeLinkLocal
	case a.Is6() && a.IsMulticast():
		return scope(a.As16()[1] & 0xf)
	case siteLocal.Contains(a):
		return scopeSiteLocal
	}
	return scopeGlobal
}

// commonPrefix returns how many of the first 64 bits two IPv6 addresses have in common, or 0 if one
// is not IPv6.
func commonPrefix(a, b netip.Addr) int {
	if !a.Is6() || !b.Is6() {
		return 0
	}
	a16, b16 := a.As16(), b.As16()
	return bits.LeadingZeros64(binary.BigEndian.Uint64(a16[:8]) ^ binary.BigEndian.Uint64(b16[:8]))
}
