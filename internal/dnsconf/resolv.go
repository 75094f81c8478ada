package dnsconf

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/idn"
)

// Limits of resolv.conf.
const (
	MaxServers    = 3 // glibc's MAXNS, and Go's
	MaxNdots      = 15
	MaxTimeout    = 30 * time.Second
	MaxAttempts   = 5
	MaxSearch     = 64 // glibc has no limit since 2.26
	MaxResolvSize = 64 << 10

	serverPort = 53
)

// Resolv is the content of a resolv.conf, with the defaults of what it leaves out. It is immutable.
type Resolv struct {
	Servers []netip.AddrPort // in order, at least one; IPv6 addresses may have a zone
	Search  []dnswire.Name   // suffixes, in order

	Ndots    int           // names with at least so many dots are first asked for as they are; 0 to MaxNdots
	Timeout  time.Duration // of an attempt: from a second to MaxTimeout
	Attempts int           // how often each server is asked: 1 to MaxAttempts

	Rotate              bool // begin each lookup at another server
	UseTCP              bool // use-vc: ask over TCP only
	EDNS0               bool
	SingleRequest       bool // ask for A, and then for AAAA
	SingleRequestReopen bool // the same, by another socket
	NoReload            bool // do not read a changed file again
	TrustAD             bool // ask for the bit AD, and pass it on
	NoTLDQuery          bool // do not ask for a name without dots as it is
	NoAAAA              bool // do not ask for AAAA

	// Lookup is OpenBSD's order of sources: "bind" and "file".
	Lookup []string

	// Unsupported lists what could change answers, but is not honoured: unknown keywords and options, and sortlist.
	// If there is any, the system's own resolver may answer differently.
	Unsupported []string
}

// An Environment is what configures the resolver of a process besides resolv.conf.
type Environment struct {
	// LocalDomain is LOCALDOMAIN, if HasLocalDomain: suffixes that replace those of the file.
	LocalDomain    string
	HasLocalDomain bool
	// ResOptions is RES_OPTIONS: options that amend those of the file.
	ResOptions string
	// Hostname is that of the machine. If it has a domain, that is the search list of a file without one.
	Hostname string
}

// ParseResolv parses the content of a resolv.conf. That of a file that does not exist is "". It takes
// lines of other systems, too: OpenBSD's lookup and option tcp, FreeBSD's option usevc.
func ParseResolv(data string, env Environment) (*Resolv, []Warning) {
	p := resolvParser{r: &Resolv{Ndots: 1, Timeout: 5 * time.Second, Attempts: 2}}
	for line := range p.lines(data, MaxResolvSize) {
		p.parseLine(line)
	}
	if env.HasLocalDomain {
		p.file = "LOCALDOMAIN"
		p.setSearch(fields(env.LocalDomain))
	}
	p.file = "RES_OPTIONS"
	for _, option := range fields(env.ResOptions) {
		p.option(option)
	}
	p.file = "hostname"
	if _, domain, ok := strings.Cut(env.Hostname, "."); ok && domain != "" && !p.hasSearch {
		p.setSearch([]string{domain})
	}
	if len(p.r.Servers) == 0 {
		p.r.Servers = []netip.AddrPort{
			netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), serverPort),
			netip.AddrPortFrom(netip.IPv6Loopback(), serverPort),
		}
	}
	return p.r, p.all()
}

type resolvParser struct {
	warnings
	r         *Resolv
	hasSearch bool // a search list is given, maybe an empty one
}

func (p *resolvParser) parseLine(line string) {
	// A comment's mark must be in the first column.
	if line == "" || line[0] == '#' || line[0] == ';' {
		return
	}
	f := fields(line)
	if len(f) == 0 {
		return
	}
	keyword, values := f[0], f[1:]
	if isBlank(line[0]) {
		if keyword[0] == '#' || keyword[0] == ';' {
			return
		}
		p.add(Lenient, "blanks before %s; start the line with the keyword, or glibc ignores it", quote(keyword))
	}
	if len(values) == 0 && keyword != "options" {
		p.add(Invalid, "%s has no value", quote(keyword))
		return
	}
	switch keyword {
	case "nameserver":
		p.server(values[0])
	case "domain":
		p.setSearch(values[:1])
	case "search":
		p.setSearch(values)
	case "options":
		for _, option := range values {
			p.option(option)
		}
	case "lookup":
		p.r.Lookup = slices.Clone(values[:min(len(values), maxLookup)])
	case "sortlist":
		p.unsupported(Unsupported, keyword, "addresses are sorted by RFC 6724 instead")
	default:
		p.unsupported(Unknown, keyword, "remove it, or leave lookups to the system's resolver")
	}
}

// maxLookup is how many sources OpenBSD has, with some to spare.
const maxLookup = 4

// unsupported reports a keyword or an option that is not honoured.
func (p *resolvParser) unsupported(kind WarningKind, what, advice string) {
	p.add(kind, "%s; %s", quote(what), advice)
	if what = quote(what); len(p.r.Unsupported) < maxWarnings && !slices.Contains(p.r.Unsupported, what) {
		p.r.Unsupported = append(p.r.Unsupported, what)
	}
}

func (p *resolvParser) server(text string) {
	addr, ok := parseAddr(text)
	switch {
	case !ok:
		p.add(Invalid, "name server %s is not an IP address", quote(text))
	case len(p.r.Servers) == MaxServers:
		p.add(Limited, "name server %s is ignored: there are %d before it", quote(text), MaxServers)
	default:
		p.r.Servers = append(p.r.Servers, netip.AddrPortFrom(addr, serverPort))
	}
}

// setSearch replaces the search list: the last one counts, whether by search or by domain.
func (p *resolvParser) setSearch(domains []string) {
	p.hasSearch = true
	p.r.Search = nil
	for _, domain := range domains {
		ascii, err := idn.ToASCII(domain)
		if err != nil {
			p.add(Invalid, "search domain %s: %v", quote(domain), err)
			continue
		}
		name, err := dnswire.ParseName(ascii)
		switch {
		case err != nil:
			p.add(Invalid, "search domain %s: %v", quote(domain), err)
		case name == dnswire.Root: // the name as it is, which is asked for in any case
		case len(p.r.Search) == MaxSearch:
			p.add(Limited, "search domain %s and those after it are ignored: there are %d before it", quote(domain), MaxSearch)
			return
		default:
			p.r.Search = append(p.r.Search, name)
		}
	}
}
