package dnsconf

import (
	"slices"
	"strings"
)

// Limits of nsswitch.conf.
const (
	MaxServices     = 16
	MaxNSSwitchSize = 64 << 10
)

// A Status is the result of a service.
type Status uint8

// Results of services.
const (
	Success     Status = iota
	NotFound           // the service works, and has no such name
	Unavailable        // the service does not work on this machine
	TryAgain           // the service does not work now
	statuses
)

// An Action follows a result.
type Action uint8

// Actions.
const (
	Continue Action = iota // with the next service
	Return                 // the result
	Merge                  // the result with that of the next service
)

// A Service is a source of addresses.
type Service struct {
	Name string // in lower case
	On   [statuses]Action
}

// defaultActions are those of a service without any in brackets.
var defaultActions = [statuses]Action{Success: Return}

// Names of services.
const (
	ServiceFiles      = "files"
	ServiceDNS        = "dns"
	ServiceMyHostname = "myhostname"
)

// Understood reports whether package dns can do what the service does. It cannot for resolve,
// mymachines, mdns and its variants, and all others.
func (s *Service) Understood() bool {
	switch s.Name {
	case ServiceFiles, ServiceDNS, ServiceMyHostname:
		return !slices.Contains(s.On[:], Merge)
	}
	return false
}

// NSSwitch is the line hosts of an nsswitch.conf. It is immutable.
type NSSwitch struct {
	Hosts []Service // in order, at least one
	// Default reports that Hosts is the default, because the file has no such line.
	Default bool
	// Malformed reports that Hosts is only what is valid of the line.
	Malformed bool
}

// ParseNSSwitch parses the content of an nsswitch.conf. That of a file that does not exist is "".
func ParseNSSwitch(data string) (*NSSwitch, []Warning) {
	var w warnings
	n := &NSSwitch{}
	for line := range w.lines(data, MaxNSSwitchSize) {
		line, _, _ = strings.Cut(line, "#")
		database, services, ok := strings.Cut(line, ":")
		switch database = strings.Trim(database, blanks); {
		case !ok && database != "":
			w.add(Invalid, "no colon after %s", quote(database))
		case database != "hosts":
		case len(n.Hosts) > 0:
			w.add(Lenient, "hosts again: this line counts, and not the one before")
			fallthrough
		default:
			p := servicesParser{warnings: &w, rest: services}
			p.parse()
			n.Hosts, n.Malformed = p.list, p.malformed
			if len(p.list) == 0 {
				w.add(Invalid, "hosts has no service")
			}
		}
	}
	if len(n.Hosts) == 0 {
		n.Default = true
		n.Hosts = []Service{{ServiceFiles, defaultActions}, {ServiceDNS, defaultActions}}
	}
	return n, w.all()
}

// A servicesParser parses services with their actions in brackets.
type servicesParser struct {
	*warnings
	rest      string
	list      []Service
	malformed bool
}

func (p *servicesParser) invalid(format string, args ...any) {
	p.malformed = true
	p.add(Invalid, format, args...)
}

func (p *servicesParser) parse() {
	for {
		p.rest = strings.TrimLeft(p.rest, blanks)
		if p.rest == "" {
			return
		}
		if p.rest[0] == '[' {
			actions, rest, ok := strings.Cut(p.rest[1:], "]")
			p.rest = rest
			if !ok {
				p.invalid("no ] after %s", quote("["+actions))
			}
			p.actions(actions)
			continue
		}
		end := strings.IndexAny(p.rest, blanks+"[")
		if end < 0 {
			end = len(p.rest)
		}
		name := p.rest[:end]
		p.rest = p.rest[end:]
		if len(p.list) == MaxServices {
			p.malformed = true
			p.add(Limited, "service %s and those after it are ignored: there are %d before it", quote(name), MaxServices)
			return
		}
		p.list = append(p.list, Service{lower(name), defaultActions})
	}
}

// actions applies what is between brackets to the service before them.
func (p *servicesParser) actions(text string) {
	if len(p.list) == 0 {
		p.invalid("[%s] is not after a service", strings.Trim(quote(text), `"`))
		return
	}
	on := &p.list[len(p.list)-1].On
	for _, item := range fields(text) {
		condition, result, _ := strings.Cut(lower(item), "=")
		condition, negate := strings.CutPrefix(condition, "!")
		status, known := statusByName[condition]
		action, ok := actionByName[result]
		if !known || !ok || action == Merge && (status != Success || negate) {
			p.invalid("action %s; it must be [STATUS=ACTION], such as [NOTFOUND=return]", quote(item))
			continue
		}
		for s := range on {
			if (Status(s) == status) != negate {
				on[s] = action
			}
		}
	}
}

var (
	statusByName = map[string]Status{"success": Success, "notfound": NotFound, "unavail": Unavailable, "tryagain": TryAgain}
	actionByName = map[string]Action{"continue": Continue, "return": Return, "merge": Merge}
)
