package lookup

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/pollux-io/pollux/cmd/pollux/internal/nametext"
	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
	"github.com/pollux-io/pollux/dns"
)

// A cause classifies failures, for programs. The texts are stable.
type cause string

const (
	causeNoName  cause = "nxdomain" // the name does not exist
	causeNoData  cause = "nodata"   // the name has no record of the type
	causeTimeout cause = "timeout"  // no server has responded in time
	causeUnknown cause = "unknown"  // the strategy is inline, and the name is not known without a server
	causeFailed  cause = "failed"   // all others
)

func causeOf(err error) cause {
	var e *dns.Error
	switch {
	case errors.Is(err, dns.ErrNoName):
		return causeNoName
	case errors.Is(err, dns.ErrNoData):
		return causeNoData
	case errors.Is(err, dns.ErrNotInline):
		return causeUnknown
	case errors.As(err, &e) && e.Timeout():
		return causeTimeout
	}
	return causeFailed
}

// failure returns in one printable line why a lookup has failed, and what to do.
func (r *Result) failure() string {
	text := r.Err.Error()
	var e *dns.Error
	if !errors.As(r.Err, &e) {
		return printable(redact.Text(text))
	}
	switch cause := causeOf(r.Err); {
	case e.Path.Kind() == dns.PathPool && cause != causeNoName && cause != causeNoData:
		text = e.Err.Error()
	case e.Err == dns.ErrNoName: // without a reason of its own
		text = "no such name; check the spelling"
	case e.Err == dns.ErrNoData && r.Kind == Addresses:
		text = "the name exists, but has no address; try another --type"
	case e.Err == dns.ErrNoData:
		text = "the name exists, but has no " + r.Kind.String() + " record; try another --type"
	case cause == causeUnknown:
		text = "not known without asking a server; write --strategy auto"
	case cause == causeTimeout:
		text = "no response in time; check that the server can be reached, or raise --timeout or --attempts"
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		text = "the connection is refused; check that a DNS server listens at the address, or " + otherServer
	case errors.Is(e.Err, syscall.ENETUNREACH), errors.Is(e.Err, syscall.EHOSTUNREACH):
		text = nametext.Plain(e.Err) + "; check the network"
	default:
		text = nametext.Plain(e.Err)
		if _, system := errors.AsType[syscall.Errno](e.Err); len(e.Steps) > 0 && !system { // the server cannot answer, or has its reasons
			text += "; " + otherServer
		}
	}
	if n := len(e.Steps); n > 0 {
		text += fmt.Sprintf(" (%s, the last at %v %s)", plural(n, "attempt"), e.Steps[n-1].Server, transport(e.Steps[n-1]))
	} else if e.Path != "" {
		text += fmt.Sprintf(" (%s)", e.Path)
	}
	return printable(redact.Text(text))
}

// otherServer is advice.
const otherServer = "ask another one with --server"

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func transport(s dns.Step) string {
	if s.TCP {
		return "tcp"
	}
	return "udp"
}

// stepsOf returns the attempts that have failed, also those before an answer.
func (r *Result) stepsOf() []dns.Step {
	var e *dns.Error
	if errors.As(r.Err, &e) {
		return e.Steps
	}
	return r.Answer.Steps
}

// answers returns the data of the records: addresses in the order in which to connect, and of other types as
// in zone files, without the aliases.
func (r *Result) answers() []string {
	list := []string{}
	if r.Kind.wantsAddresses() {
		for _, a := range r.Answer.Addrs {
			list = append(list, a.String())
		}
		return list
	}
	for i := range r.Answer.Records {
		if rec := &r.Answer.Records[i]; rec.Type == dns.Type(r.Kind) {
			list = append(list, rec.Value)
		}
	}
	return list
}

// aliases returns the names that the name stands for, in their order, as far as DNS has reported them.
func (r *Result) aliases() []string {
	var list []string
	for i := range r.Answer.Records {
		rec := &r.Answer.Records[i]
		if rec.Type != dns.TypeCNAME || dns.Type(r.Kind) == dns.TypeCNAME {
			break
		}
		list = append(list, rec.Target)
	}
	return list
}

// hasTTL reports whether the TTL of the answer is known.
func (r *Result) hasTTL() bool {
	p := r.Answer.Path
	return p == dns.PathCache || p == dns.PathStale || strings.HasPrefix(string(p), "evented ")
}
