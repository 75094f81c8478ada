package dns

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/pollux-io/pollux/internal/dnsconf"
)

// usesHosts reports whether the hosts file precedes DNS.
func (r *Resolver) usesHosts(s *dnsconf.Snapshot) bool {
	switch r.config.Strategy {
	case Evented, Inline:
		return true
	case Pool:
		return false
	}
	for i := range s.NSSwitch.Hosts {
		switch service := &s.NSSwitch.Hosts[i]; {
		case service.Name == dnsconf.ServiceFiles:
			return true
		case service.Name == dnsconf.ServiceMyHostname, isMDNS(service.Name):
		default:
			return false
		}
	}
	return false
}

// eventedOrPool returns which source is asked for a name, PathEvented or PathPool, and why. It is the only place that
// decides this.
func (r *Resolver) eventedOrPool(s *dnsconf.Snapshot, name string, t Type) (p Path, reason string) {
	switch {
	case !wantsAddresses(t):
		return PathEvented, "only DNS servers have records of other types than A and AAAA"
	case r.config.Strategy == Evented:
		return PathEvented, "the strategy is Evented"
	case r.config.Strategy == Pool:
		return PathPool, "the strategy is Pool"
	case len(r.config.Servers) > 0:
		return PathEvented, "servers were given"
	}
	if reason = poolReason(s, name); reason != "" {
		return PathPool, reason
	}
	return PathEvented, "resolv.conf and nsswitch.conf are understood, and leave the name to DNS servers"
}

// poolReason returns why, with the strategy Auto, the system's resolver must look up the addresses of a name, or ""
// if DNS servers give the same answer.
func poolReason(s *dnsconf.Snapshot, name string) string {
	switch runtime.GOOS {
	case "windows", "darwin", "ios", "android":
		return "the system has sources besides DNS servers"
	}
	if s.ResolvErr != nil && !errors.Is(s.ResolvErr, fs.ErrNotExist) {
		return s.ResolvErr.Error()
	}
	if s.NSSwitchErr != nil && !errors.Is(s.NSSwitchErr, fs.ErrNotExist) {
		return s.NSSwitchErr.Error()
	}
	if len(s.Resolv.Unsupported) > 0 {
		return "resolv.conf has " + s.Resolv.Unsupported[0]
	}
	if isUnder(name, "local") {
		return "names under .local are for multicast DNS"
	}
	return servicesReason(s, name)
}

// servicesReason is poolReason for nsswitch.conf.
func servicesReason(s *dnsconf.Snapshot, name string) string {
	if s.NSSwitch.Malformed {
		return "the line hosts of nsswitch.conf is malformed"
	}
	dns := false
	for i := range s.NSSwitch.Hosts {
		service := &s.NSSwitch.Hosts[i]
		switch {
		case service.Name == dnsconf.ServiceDNS:
			dns = true
		case service.Name == dnsconf.ServiceFiles && dns:
			if _, _, ok := s.Hosts.Lookup(name); ok {
				return "nsswitch.conf has files after dns, and the hosts file has the name"
			}
		case service.Name == dnsconf.ServiceMyHostname && isOwnName(name):
			return "nsswitch.conf has myhostname, which has the name"
		case isMDNS(service.Name): // for names under .local only
			continue
		case !service.Understood():
			return "nsswitch.conf has " + service.Name
		}
		if !dns && service.On[dnsconf.NotFound] != dnsconf.Continue {
			return "nsswitch.conf ends the lookup before dns"
		}
	}
	if !dns {
		return "nsswitch.conf does not have dns"
	}
	return ""
}

// isMDNS reports whether a service is a variant of mdns that leaves all names to others but those under
// .local.
func isMDNS(service string) bool {
	return strings.HasPrefix(service, "mdns") && strings.HasSuffix(service, "_minimal")
}

// isOwnName reports whether nss-myhostname(8) has the name.
func isOwnName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	hostname, err := os.Hostname()
	return err != nil || strings.EqualFold(name, hostname) || strings.EqualFold(name, "_gateway") ||
		strings.EqualFold(name, "_outbound") || isUnder(name, "localdomain")
}

// isUnder reports whether name is below domain, which has one label.
func isUnder(name, domain string) bool {
	name = strings.TrimSuffix(name, ".")
	at := len(name) - len(domain)
	return at > 0 && name[at-1] == '.' && strings.EqualFold(name[at:], domain)
}
