package dns

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/pollux-io/pollux/internal/misuse"
	"github.com/pollux-io/pollux/internal/offload"
)

// A target is what a dial's address consists of.
type target struct {
	host    string // "localhost" if it is empty, as in package net
	port    uint16
	service string // to look up, if the port is not known yet
}

// services are the ports of services over TCP that need no lookup (IANA's Service Name and Transport Protocol Port
// Number Registry).
var services = map[string]uint16{
	"domain": 53, "domain-s": 853, "ftp": 21, "ftps": 990, "http": 80, "https": 443, "imap": 143, "imaps": 993, "ldap": 389,
	"ldaps": 636, "mysql": 3306, "pop3": 110, "pop3s": 995, "postgresql": 5432, "redis": 6379, "smtp": 25, "ssh": 22,
	"submission": 587, "submissions": 465, "telnet": 23,
}

// parseTarget parses the address of a dial.
func parseTarget(address string) (target, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return target{}, fmt.Errorf("%w: %w", misuse.ErrBadArgument, err)
	}
	if host == "" {
		host = "localhost"
	}
	if n, err := strconv.ParseUint(service, 10, 16); err == nil {
		return target{host: host, port: uint16(n)}, nil
	}
	if service == "" || service[0] == '-' || service[0] == '+' || service[0] >= '0' && service[0] <= '9' {
		return target{}, fmt.Errorf("%w: port %q is not a number from 0 to 65535, nor the name of a service", misuse.ErrBadArgument, service)
	}
	if port, ok := services[service]; ok {
		return target{host: host, port: port}, nil
	}
	return target{host: host, service: service}, nil
}

// A dialAddr is the address of a dial in its errors.
type dialAddr struct{ network, address string }

var _ net.Addr = dialAddr{}

func (a dialAddr) Network() string { return a.network }
func (a dialAddr) String() string  { return a.address }

// A portJob looks up the port of a service, in the pool: the system has it in a file, or asks other services.
type portJob struct {
	race *race
	port int
	err  error
}

var _ offload.Job = (*portJob)(nil)

func (j *portJob) Reserve() error { return nil }

func (j *portJob) Run() {
	// The name of the network selects the protocol only. Without the race's context a result is not lost: it is one
	// read of a file.
	j.port, j.err = net.DefaultResolver.LookupPort(context.WithoutCancel(j.race.ctx), "tcp", j.race.target.service)
}

func (j *portJob) Finish(returned bool, recovered any) {
	if !returned {
		j.err = fmt.Errorf("the system's resolver panicked: %v", recovered)
	}
	j.race.run(func() { j.race.portFound(j.port, j.err) })
}

// findPort looks up the port of a service by its name, and then begins the race.
func (r *race) findPort() {
	if err := r.dialer.Resolver.pool.Submit(&portJob{race: r}); err != nil {
		r.endWith(poolError(err))
	}
}

func (r *race) portFound(port int, err error) {
	if r.done == nil {
		return
	}
	if err != nil {
		r.endWith(fmt.Errorf("%w: port %q is not a number, nor a service that the system knows: %w", misuse.ErrBadArgument, r.target.service, err))
		return
	}
	r.target.port = uint16(port)
	r.begin()
}
