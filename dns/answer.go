package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/exchange"
)

// A Type is the type of a record, as registered by IANA.
type Type uint16

// Types whose data a Record has in its fields.
const (
	TypeA     = Type(dnswire.TypeA)
	TypeNS    = Type(dnswire.TypeNS)
	TypeCNAME = Type(dnswire.TypeCNAME)
	TypeSOA   = Type(dnswire.TypeSOA)
	TypePTR   = Type(dnswire.TypePTR)
	TypeMX    = Type(dnswire.TypeMX)
	TypeTXT   = Type(dnswire.TypeTXT)
	TypeAAAA  = Type(dnswire.TypeAAAA)
	TypeSRV   = Type(dnswire.TypeSRV)
)

// typeAddresses stands for A and AAAA together. No record has it.
const typeAddresses Type = 0

// String returns the mnemonic, such as "AAAA".
func (t Type) String() string {
	if t == typeAddresses {
		return "A, AAAA"
	}
	return dnswire.Type(t).String()
}

// A Path is where an answer or an error comes from: "literal", "localhost", "hosts", "cache", "cache
// stale", "evented 192.0.2.53:53 udp", "evented 192.0.2.53:53 tcp", "pool" or
// "pool GetAddrInfoExW".
type Path string

// Paths. PathEvented is that of a Plan; an Answer's has the server and the transport after it.
const (
	PathLiteral   Path = "literal"
	PathLocalhost Path = "localhost"
	PathHosts     Path = "hosts"
	PathCache     Path = "cache"
	PathStale     Path = "cache stale"
	PathEvented   Path = "evented"
	PathPool      Path = "pool" // package net
	// PathAddrInfoEx is the pool on Windows, whose lookups hold no threads.
	PathAddrInfoEx Path = "pool GetAddrInfoExW"
)

// Kind returns the path without what follows a known one: PathEvented for "evented 192.0.2.53:53 udp".
func (p Path) Kind() Path {
	for _, kind := range []Path{PathEvented, PathPool} {
		if rest, ok := strings.CutPrefix(string(p), string(kind)); ok && (rest == "" || rest[0] == ' ') {
			return kind
		}
	}
	return p
}

// An Answer is the result of a lookup. The cache, and other lookups, may have the same slices: do not change their
// elements.
type Answer struct {
	// Name is the name as it was given to the lookup, and Canonical the one that has the records, with
	// the suffix of the search list and after all aliases; it ends with a dot if it comes from DNS.
	Name, Canonical string
	Type            Type // 0 for Lookup
	// Addrs are the addresses, if those were looked up: for Lookup of both families, in the order in which to
	// connect (RFC 6724). Those of the hosts file are in the order of the file, as sorting takes system calls: a Dialer sorts
	// them. Localhost has IPv4 first.
	Addrs []netip.Addr
	// Records are those of DNS: aliases first, in their order.
	Records []Record
	// TTL is how long the answer may be used: the shortest TTL of its records, and of negative responses for the other family
	// or for earlier names of the search list, if those have one. It is 0 if that is not known.
	TTL time.Duration
	// Path is where the answer comes from. If A and AAAA records come from different sources, it is
	// that of the A records.
	Path Path
	// Reason is why the system's resolver was asked: empty unless it was.
	Reason string
	// Stale reports that the TTL has ended, and that no server could refresh the answer (RFC 8767).
	Stale bool
	// Steps are the attempts that failed before.
	Steps []Step
}

// A Step is an attempt of a lookup that has failed.
type Step struct {
	Type   Type // of the records that were asked for
	Server netip.AddrPort
	TCP    bool          // over TCP; otherwise over UDP
	Took   time.Duration // from sending to the failure
	Err    error         // why
}

// String returns the step in one line.
func (s Step) String() string {
	return fmt.Sprintf("%v %v", s.Type, exchange.Step{Server: s.Server, TCP: s.TCP, Took: s.Took, Err: s.Err})
}

func stepsOf(t Type, failed []exchange.Step) []Step {
	if len(failed) == 0 {
		return nil
	}
	steps := make([]Step, len(failed))
	for i, s := range failed {
		steps[i] = Step{t, s.Server, s.TCP, s.Took, s.Err}
	}
	return steps
}

// A Record is a record of DNS. Which fields after TTL are set depends on the type. Texts are as
// in zone files: dots and octets that are not printable are escaped with a backslash.
type Record struct {
	Name string // the owner, with the final dot
	Type Type
	TTL  time.Duration

	Addr       netip.Addr // A, AAAA
	Target     string     // CNAME, NS, PTR, MX, SRV
	Preference uint16     // MX; the priority of SRV
	Weight     uint16     // SRV
	Port       uint16     // SRV
	Text       []string   // TXT: any octets, not escaped
	Data       []byte     // other types but SOA: the octets of the record
	// Value is the data of any type as in a zone file.
	Value string
}

func recordOf(w *dnswire.Record) Record {
	r := Record{
		Name: w.Name.String(), Type: Type(w.Type), TTL: w.TTL, Addr: w.Addr, Preference: w.Preference,
		Weight: w.Weight, Port: w.Port, Text: w.Text, Data: w.Data, Value: w.DataString(),
	}
	if w.Target != "" {
		r.Target = w.Target.String()
	}
	return r
}
