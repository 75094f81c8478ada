package dnsconf

import (
	"strings"
	"time"
)

// option applies an option, from a line of the file or from RES_OPTIONS.
func (p *resolvParser) option(option string) {
	if name, value, ok := strings.Cut(option, ":"); ok {
		p.number(option, name, value)
		return
	}
	r := p.r
	switch option {
	case "rotate":
		r.Rotate = true
	case "use-vc", "usevc", "tcp": // of Linux, FreeBSD, OpenBSD
		r.UseTCP = true
	case "edns0":
		r.EDNS0 = true
	case "single-request":
		r.SingleRequest = true
	case "single-request-reopen":
		r.SingleRequestReopen = true
	case "no-reload":
		r.NoReload = true
	case "trust-ad":
		r.TrustAD = true
	case "no-tld-query", "no_tld_query":
		r.NoTLDQuery = true
	case "no-aaaa":
		r.NoAAAA = true
	case "debug", "no-check-names", "ip6-dotint", "no-ip6-dotint", "ip6-bytestring", "insecure1", "insecure2":
		// They have no effect on lookups, or had one only in old versions of glibc.
	case "inet6":
		p.unsupported(Unsupported, option, "IPv4 addresses are not mapped into IPv6; glibc has deprecated it since 2.25")
	default:
		p.unsupported(Unknown, option, "remove the option, or leave lookups to the system's resolver")
	}
}

// number applies an option with a number.
func (p *resolvParser) number(option, name, value string) {
	low, high := 1, 0
	switch name {
	case "ndots":
		low, high = 0, MaxNdots
	case "timeout":
		high = int(MaxTimeout / time.Second)
	case "attempts":
		high = MaxAttempts
	default:
		p.unsupported(Unknown, option, "remove the option, or leave lookups to the system's resolver")
		return
	}
	n, ok := leadingNumber(value)
	if !ok {
		p.add(Invalid, "option %s has no number; it is ignored", quote(option))
		return
	}
	if clamped := min(max(n, low), high); clamped != n {
		p.add(Limited, "option %s is taken as %d; the range is %d to %d", quote(option), clamped, low, high)
		n = clamped
	}
	switch name {
	case "ndots":
		p.r.Ndots = n
	case "timeout":
		p.r.Timeout = time.Duration(n) * time.Second
	case "attempts":
		p.r.Attempts = n
	}
}

// leadingNumber returns the number at the start of s, as atoi(3) does. One that exceeds the range of all
// options is cut.
func leadingNumber(s string) (n int, ok bool) {
	const enough = 1 << 20
	digits, negative := s, false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		digits, negative = s[1:], s[0] == '-'
	}
	for i := 0; i < len(digits) && '0' <= digits[i] && digits[i] <= '9'; i++ {
		n, ok = min(n*10+int(digits[i]-'0'), enough), true
	}
	if negative {
		n = -n
	}
	return n, ok
}
