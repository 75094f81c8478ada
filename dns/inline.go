package dns

import (
	"net/netip"
	"slices"
	"strings"
)

// loopback are the addresses of localhost (RFC 6761, section 6.3), for connecting in this order.
var loopback = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// A tally is whether an inline answer counts as a lookup, in Stats and for the cache's eviction.
type tally bool

const (
	counted   tally = true
	uncounted tally = false
)

// inline answers what needs no server: it sets a, or returns an *Error, and reports whether it has done so. It
// does not block.
func (r *Resolver) inline(a *Answer, name string, t Type, count tally) (ok bool, err error) {
	if wantsAddresses(t) {
		if mayBeLiteral(name) {
			if addr, err := netip.ParseAddr(name); err == nil {
				return true, r.literal(a, addr, name, t, count)
			}
		}
		if isLocalhost(name) {
			if count {
				r.counts.localhost.Inc()
			}
			a.setAddrs(name, "localhost", t, PathLocalhost, loopback)
			return true, nil
		}
	}
	now := r.now()
	v := r.view(now)
	if ok, err = r.cached(a, v, now, name, t, count); ok {
		return ok, err
	}
	if v.hosts(a, name, t) {
		if count {
			r.counts.hosts.Inc()
		}
		return true, nil
	}
	return false, nil
}

// hosts sets a to what the hosts file has of a name, and reports whether it has any of the wanted family.
// Those of the other family may be elsewhere. Without any, a is left as it is.
func (v *view) hosts(a *Answer, name string, t Type) bool {
	switch {
	case !v.hostsFirst:
		return false
	case t == TypePTR:
		return v.reverse(a, name)
	case !wantsAddresses(t):
		return false
	}
	addrs, canonical, ok := v.Hosts.Lookup(name)
	return ok && a.setAddrs(name, canonical, t, PathHosts, addrs)
}

// literal answers a name that is an address.
func (r *Resolver) literal(a *Answer, addr netip.Addr, name string, t Type, count tally) error {
	if t != typeAddresses && t == TypeA != addr.Unmap().Is4() {
		if count {
			r.counts.notFound.Add(1)
		}
		return &Error{Name: name, Type: t, Path: PathLiteral, Err: ErrNoData}
	}
	if count {
		r.counts.literal.Inc()
	}
	a.setAddrs(name, name, t, PathLiteral, []netip.Addr{addr})
	return nil
}

// mayBeLiteral reports whether it is worth to parse name as an address: for other names an error would be allocated.
func mayBeLiteral(name string) bool {
	isDigit := func(c byte) bool { return '0' <= c && c <= '9' }
	return name != "" && isDigit(name[0]) && isDigit(name[len(name)-1]) || strings.IndexByte(name, ':') >= 0
}

func wantsAddresses(t Type) bool { return t == typeAddresses || t == TypeA || t == TypeAAAA }

// setAddrs sets a to the addresses of the wanted families, and reports whether there are any: otherwise it leaves a as
// it is. a shares the slice, if that has no address of another family.
func (a *Answer) setAddrs(name, canonical string, t Type, p Path, addrs []netip.Addr) bool {
	other := func(addr netip.Addr) bool { return t == TypeA != addr.Unmap().Is4() }
	if t != typeAddresses && slices.ContainsFunc(addrs, other) {
		addrs = slices.DeleteFunc(slices.Clone(addrs), other)
	}
	if len(addrs) == 0 {
		return false
	}
	*a = Answer{Name: name, Canonical: canonical, Type: t, Path: p, Addrs: slices.Clip(addrs)}
	return true
}

// isLocalhost reports whether name is localhost, or below it.
func isLocalhost(name string) bool {
	const localhost = "localhost"
	name = strings.TrimSuffix(name, ".")
	before := len(name) - len(localhost)
	return before >= 0 && (before == 0 || name[before-1] == '.') && strings.EqualFold(name[before:], localhost)
}
