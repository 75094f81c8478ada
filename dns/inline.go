package dns

import (
	"net/netip"
	"strings"
	"time"

	"github.com/pollux-io/pollux/internal/dnscache"
	"github.com/pollux-io/pollux/internal/dnsconf"
)

// loopback are the addresses of localhost (RFC 6761, section 6.3).
var loopback = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// inline answers what needs no server. It does not block.
func (r *Resolver) inline(name string, t Type) (Answer, bool) {
	if t == TypePTR {
		return r.inlineReverse(name)
	}
	if !wantsAddresses(t) {
		return Answer{}, false // only DNS has other types; the cache has the parts of those (lookup.go)
	}
	if mayBeLiteral(name) {
		if addr, err := netip.ParseAddr(name); err == nil {
			return addressAnswer(name, name, t, PathLiteral, []netip.Addr{addr})
		}
	}
	if isLocalhost(name) {
		return addressAnswer(name, "localhost", t, PathLocalhost, loopback)
	}
	now := r.now()
	s := r.source.Snapshot(now)
	if r.usesHosts(s) {
		if addrs, canonical, ok := s.Hosts.Lookup(name); ok {
			return addressAnswer(name, canonical, t, PathHosts, addrs)
		}
	}
	return r.cached(s, now, name, t)
}

// mayBeLiteral reports whether it is worth to parse name as an address: an error would be allocated.
func mayBeLiteral(name string) bool {
	return name != "" && name[0] >= '0' && name[0] <= '9' || strings.IndexByte(name, ':') >= 0
}

func wantsAddresses(t Type) bool { return t == typeAddresses || t == TypeA || t == TypeAAAA }

// cached returns a whole answer of Lookup.
func (r *Resolver) cached(s *dnsconf.Snapshot, now time.Duration, name string, t Type) (Answer, bool) {
	if t != typeAddresses {
		return Answer{}, false
	}
	hit, ok := r.answers.Get(now, dnscache.Key{Name: name, Epoch: uint32(s.Epoch)})
	if !ok || hit.Stale {
		return Answer{}, false
	}
	a := *hit.Value
	a.Name, a.TTL, a.Path, a.Steps = name, hit.TTL, PathCache, nil
	return a, true
}

// addressAnswer returns the addresses of the wanted families. It is not ok if that leaves none, as a name of the
// hosts file may have addresses of the other family elsewhere.
func addressAnswer(name, canonical string, t Type, p Path, addrs []netip.Addr) (Answer, bool) {
	a := Answer{Name: name, Canonical: canonical, Type: t, Path: p}
	for _, addr := range addrs {
		if t == typeAddresses || t == TypeA == addr.Unmap().Is4() {
			a.Addrs = append(a.Addrs, addr)
		}
	}
	return a, len(a.Addrs) > 0
}

// isLocalhost reports whether name is localhost, or below it.
func isLocalhost(name string) bool {
	const localhost = "localhost"
	name = strings.TrimSuffix(name, ".")
	before := len(name) - len(localhost)
	return before >= 0 && strings.EqualFold(name[before:], localhost) && (before == 0 || name[before-1] == '.')
}
