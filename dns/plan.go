package dns

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// A Plan is how a name would be looked up now.
type Plan struct {
	Name string
	Type Type // 0 for the addresses of both families
	// Path is where the answer, or Err, comes from: PathLiteral, PathLocalhost, PathHosts, PathCache, PathEvented without a
	// server, or PathPool; "" if no source is asked.
	Path   Path
	Reason string // why, in words
	// Err is the error of the lookup, if that is known: from the cache, or because no source is asked.
	Err error

	// The following is set for PathEvented.

	// Names are those to ask for, each when the one before does not exist: the search list. Servers are not asked for
	// those that the cache has.
	Names []string
	// Types are those to ask for, of each name.
	Types []Type
	// Servers are those to ask, in this order, unless Rotate.
	Servers []netip.AddrPort
	// Timeout is that of an attempt, and Attempts how often each server is asked.
	Timeout  time.Duration
	Attempts int
	Rotate   bool // begin each query at another server
	TCP      bool // ask over TCP only
}

// Explain returns how a lookup of a name would go on now: of a type or, if that is 0, as by Lookup. It sends no
// queries, counts nothing, and does not block.
func (r *Resolver) Explain(name string, t Type) Plan {
	p := Plan{Name: name, Type: t}
	name = asciiOrGiven(name)
	var a Answer
	if ok, err := r.inline(&a, name, t, uncounted); ok {
		p.Path, p.Err = a.Path, err
		if e, ok := errors.AsType[*Error](err); ok {
			p.Path, p.Err = e.Path, e.Err
		}
		p.Reason = inlineReasons[p.Path]
		return p
	}
	v := r.view(r.now())
	c := r.choose(v, name, t)
	if c.err != nil {
		p.Err, p.Reason = c.err, c.err.Error()
		return p
	}
	p.Path, p.Reason = c.path, c.reason
	if p.Path == PathPool {
		return p
	}
	for _, n := range c.names {
		p.Names = append(p.Names, n.String())
	}
	for _, t := range v.types(t) {
		p.Types = append(p.Types, Type(t))
	}
	q := &v.policy
	p.Servers, p.Timeout, p.Attempts, p.Rotate, p.TCP = slices.Clone(q.Servers), q.Timeout, q.Attempts, q.Rotate, q.TCP
	return p
}

var inlineReasons = map[Path]string{
	PathLiteral:   "the name is an IP address",
	PathLocalhost: "localhost and the names below it are this machine (RFC 6761)",
	PathHosts:     "the hosts file has the name",
	PathCache:     "the cache has the answer, whose TTL lasts",
}
