package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/pollux-io/pollux/cmd/pollux/internal/limits"
	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
)

// An Error says what was attempted, why it failed and what to do about it.
type Error struct {
	Step   string // what was attempted, and on what
	Err    error
	Advice string // may be empty
	Again  bool   // another try may succeed
}

// Error implements error. The text is redacted.
func (e *Error) Error() string {
	s := e.Step + ": " + plain(e.Err)
	if e.Advice != "" {
		s += "; " + e.Advice
	}
	return redact.Text(s)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// plain leaves out what Step says already.
func plain(err error) string {
	var errno syscall.Errno
	var dns *net.DNSError
	var several attempts
	var op *net.OpError
	switch {
	case errors.As(err, &several):
		return several.Error()
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &dns):
		return dns.Err
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &op) && op.Addr != nil:
		return strings.TrimPrefix(op.Err.Error(), op.Addr.String()+": ")
	}
	return err.Error()
}

var (
	errHungUp  = errors.New("the server hung up before its answer was whole")
	errNotHTTP = errors.New("the answer is not HTTP")
	errAnswer  = errors.New("the answer is malformed or not supported")
	errHead    = fmt.Errorf("the head of the answer is longer than %d KiB", maxHeadBytes>>10)
	errTotal   = errors.New("time is up")
	errSilent  = errors.New("the server sends nothing")
	errStopped = errors.New("interrupted")
)

// Interrupted reports whether err only says that the run was ended.
func Interrupted(err error) bool { return errors.Is(err, errStopped) }

// attempts are the addresses of a host that were tried and failed, in order.
type attempts []attempt

type attempt struct {
	addr netip.AddrPort
	err  error
}

// Error implements error.
func (a attempts) Error() string {
	list := make([]string, len(a))
	for i, t := range a {
		list[i] = t.addr.String() + ": " + plain(t.err)
	}
	return strings.Join(list, ", ")
}

// Unwrap returns the causes.
func (a attempts) Unwrap() []error {
	causes := make([]error, len(a))
	for i, t := range a {
		causes[i] = t.err
	}
	return causes
}

// connectFailure is for a host all of whose addresses have failed.
func connectFailure(u *url.URL, tried attempts) *Error {
	e := &Error{Again: true}
	if len(tried) == 1 {
		e.Step, e.Err = "connect to "+tried[0].addr.String(), tried[0].err
	} else {
		e.Step, e.Err = "connect to "+u.Host, tried
	}
	err := e.Err
	switch {
	case limits.Exhausted(err):
		e.Advice = limits.Advice
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Advice = "nobody listens there: check host and port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.Advice = "no local port is free: lower --parallel, or widen the port range (pollux doctor)"
	case errors.Is(err, syscall.ENOSPC):
		e.Advice = "raise fs.epoll.max_user_watches (pollux doctor)"
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Advice = "raise --connect-timeout if the way there is slow"
	case zoned(tried):
		e.Advice = "check the zone behind the %: it names a network interface of this machine"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		e.Advice = "check the network"
	}
	return e
}

// zoned reports whether an address with a zone has been tried.
func zoned(tried attempts) bool {
	return slices.ContainsFunc(tried, func(t attempt) bool { return t.addr.Addr().Zone() != "" })
}

func lookupFailure(host string, err error) *Error {
	e := &Error{Step: "look up " + host, Err: err, Advice: "check the name", Again: true}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		e.Again = !dns.IsNotFound
		if e.Again {
			e.Advice = "check the network and its name servers"
		}
	}
	return e
}

// answerFailure is for what goes wrong after the connection is open.
func answerFailure(u *url.URL, doing string, err error) *Error {
	e := &Error{Step: doing + " " + u.Host, Err: err, Again: true}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		e.Err = errHungUp
	case errors.Is(err, errAnswer), errors.Is(err, errHead):
		e.Again = false
	case errors.Is(err, errNotHTTP):
		e.Advice, e.Again = "check that this port speaks HTTP", false
	case errors.Is(err, errSilent):
		e.Advice = "raise --idle-timeout if it needs longer"
	case errors.Is(err, errTotal):
		e.Advice, e.Again = "raise --timeout if it needs longer", false
	}
	return e
}

// statusFailure is for a whole answer that is not a success.
func statusFailure(u *url.URL, resp *http.Response) *Error {
	text := http.StatusText(resp.StatusCode) // not the server's: that may be anything
	e := &Error{
		Step: "get " + u.RequestURI() + " from " + u.Host,
		Err:  errors.New("status " + strconv.Itoa(resp.StatusCode) + " " + text),
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.Again = true
	case http.StatusNotFound, http.StatusGone:
		e.Advice = "check the path"
	case http.StatusUnauthorized:
		e.Advice = "check the user name and the password in front of the host"
	case http.StatusPartialContent:
		e.Err = fmt.Errorf("%w: a part of the body, and all of it was asked for", e.Err)
	default:
		if redirects(resp.StatusCode) { // it would have been followed
			e.Err = fmt.Errorf("%w, without a Location", e.Err)
		}
	}
	return e
}
