package dnstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/dnswire"
)

// A side is a process that makes all lookups of a variant: by package net, or by package dns. It reads jobs, one a line,
// from standard input, and writes an outcome for each.

// A job is a lookup: what is "ip", "cname", or a type.
type job struct{ Side, What, Name string }

// sides are package net, and package dns with its strategies.
const (
	sideGo      = "go"
	sideAuto    = "auto"
	sideEvented = "evented"
)

// An outcome is the result of a job, in the same terms for all sides.
type outcome struct {
	Values    []string // addresses in their order; other records sorted
	Canonical string   // of "cname", without the final dot
	Err       string   // "", or the kind of the error
	Detail    string   // for messages: the path, and the text of the error
}

func sideMain() {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	auto := must(dns.New(dns.Config{CacheEntries: -1}))
	evented := must(dns.New(dns.Config{CacheEntries: -1, Strategy: dns.Evented}))
	resolvers := map[string]*dns.Resolver{sideAuto: auto, sideEvented: evented}
	for {
		var j job
		if in.Decode(&j) != nil {
			return
		}
		var o outcome
		if j.Side == sideGo {
			o = lookupByNet(j)
		} else {
			o = lookupByDNS(resolvers[j.Side], j)
		}
		if err := out.Encode(o); err != nil {
			return
		}
	}
}

// Kinds of errors.
const (
	kindNotFound = "not found"
	kindTimeout  = "timeout"
	kindFailure  = "failure"
)

func kindOf(err error, notFound, timeout bool) string {
	switch {
	case err == nil:
		return ""
	case notFound:
		return kindNotFound
	case timeout:
		return kindTimeout
	}
	return kindFailure
}

func lookupByNet(j job) (o outcome) {
	r, ctx := &net.Resolver{PreferGo: true}, context.Background()
	var err error
	add := func(format string, args ...any) { o.Values = append(o.Values, fmt.Sprintf(format, args...)) }
	switch j.What {
	case "ip":
		var addrs []net.IPAddr
		addrs, err = r.LookupIPAddr(ctx, j.Name)
		for _, a := range addrs {
			add("%v", a.String())
		}
	case "cname":
		o.Canonical, err = r.LookupCNAME(ctx, j.Name)
		o.Canonical = strings.TrimSuffix(o.Canonical, ".")
	case "MX":
		var list []*net.MX
		list, err = r.LookupMX(ctx, j.Name)
		for _, m := range list {
			add("%d %s", m.Pref, m.Host)
		}
	case "NS":
		var list []*net.NS
		list, err = r.LookupNS(ctx, j.Name)
		for _, n := range list {
			add("%s", n.Host)
		}
	case "TXT":
		o.Values, err = r.LookupTXT(ctx, j.Name)
	case "SRV":
		var list []*net.SRV
		_, list, err = r.LookupSRV(ctx, "", "", j.Name)
		for _, s := range list {
			add("%d %d %d %s", s.Priority, s.Weight, s.Port, s.Target)
		}
	case "PTR":
		o.Values, err = r.LookupAddr(ctx, j.Name)
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		o.Err = kindOf(err, e.IsNotFound, e.IsTimeout)
	} else {
		o.Err = kindOf(err, false, false)
	}
	o.Detail = fmt.Sprint(err)
	return o.inOrder(j)
}

func lookupByDNS(r *dns.Resolver, j job) (o outcome) {
	ctx := context.Background()
	var a dns.Answer
	var err error
	switch j.What {
	case "ip", "cname":
		a, err = r.Lookup(ctx, j.Name)
	case "PTR":
		a, err = r.LookupType(ctx, dnswire.ReverseName(netip.MustParseAddr(j.Name)).String(), dns.TypePTR)
	default:
		typ, _ := dnswire.ParseType(j.What)
		a, err = r.LookupType(ctx, j.Name, dns.Type(typ))
	}
	o.Detail = fmt.Sprintf("%s, %v", a.Path, a.Steps)
	if e, ok := errors.AsType[*dns.Error](err); ok {
		o.Detail = fmt.Sprintf("%s, %v", e.Path, err)
		o.Err = kindOf(err, errors.Is(err, dns.ErrNotFound), e.Timeout())
		return o
	}
	for i := range a.Records {
		switch rec := &a.Records[i]; {
		case rec.Type.String() != j.What:
		case j.What == "TXT": // package net joins the strings of a record
			o.Values = append(o.Values, strings.Join(rec.Text, ""))
		default:
			o.Values = append(o.Values, rec.Value)
		}
	}
	switch j.What {
	case "ip":
		for _, addr := range a.Addrs {
			o.Values = append(o.Values, addr.String())
		}
	case "cname":
		o.Canonical = strings.TrimSuffix(a.Canonical, ".")
	}
	return o.inOrder(j)
}

// inOrder sorts what has no order that is promised.
func (o outcome) inOrder(j job) outcome {
	if j.What != "ip" {
		slices.Sort(o.Values)
	}
	return o
}
