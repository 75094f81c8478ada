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

// An Error has what was attempted, why it failed and what to do about it.
type Error struct {
	Step      string // what was attempted, and on what
	Err       error
	Advice    string // may be empty
	Transient bool   // a retry may succeed
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

// plain returns the text of err without what Step has already.
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
	errHungUp  = errors.New("the server closed the connection before the end of its answer")
	errNotHTTP = errors.New("the answer is not HTTP")
	errAnswer  = errors.New("the answer is malformed or not supported")
	errHead    = fmt.Errorf("the head of the answer is longer than %d KiB", maxHeadBytes>>10)
	errTotal   = errors.New("the time limit has expired")
	errSilent  = errors.New("the server sends nothing")
	errStopped = errors.New("interrupted")
)

// Interrupted reports whether err only means that the run was ended.
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

// connectFailure returns the error of a host whose addresses have all failed.
func connectFailure(u *url.URL, tried attempts) *Error {
	e := &Error{Transient: true}
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
		e.Advice = "no server listens there: check host and port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.Advice = "no local port is free: lower --parallel, or widen the port range (pollux doctor)"
	case errors.Is(err, syscall.ENOSPC):
		e.Advice = "raise fs.epoll.max_user_watches (pollux doctor)"
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Advice = "raise --connect-timeout if the network is slow"
	case zoned(tried):
		e.Advice = "check the zone after the %: it names a network interface of this machine"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		e.Advice = "check the network"
	}
	return e
}

// zoned reports whether an address with a zone was tried.
func zoned(tried attempts) bool {
	return slices.ContainsFunc(tried, func(t attempt) bool { return t.addr.Addr().Zone() != "" })
}

func lookupFailure(host string, err error) *Error {
	e := &Error{Step: "look up " + host, Err: err, Advice: "check the name", Transient: true}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		e.Transient = !dns.IsNotFound
		if e.Transient {
			e.Advice = "check the network and its name servers"
		}
	}
	return e
}

// answerFailure returns the error of a failure after the connection was opened.
func answerFailure(u *url.URL, doing string, err error) *Error {
	e := &Error{Step: doing + " " + u.Host, Err: err, Transient: true}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		e.Err = errHungUp
	case errors.Is(err, errAnswer), errors.Is(err, errHead):
		e.Transient = false
	case errors.Is(err, errNotHTTP):
		e.Advice, e.Transient = "check that this port speaks HTTP", false
	case errors.Is(err, errSilent):
		e.Advice = "raise --idle-timeout if the server needs longer"
	case errors.Is(err, errTotal):
		e.Advice, e.Transient = "raise --timeout if the transfer needs longer", false
	}
	return e
}

// statusFailure returns the error of a complete answer that is not a success.
func statusFailure(u *url.URL, resp *http.Response) *Error {
	text := http.StatusText(resp.StatusCode) // not the server's text, which may be anything
	e := &Error{
		Step: "get " + u.RequestURI() + " from " + u.Host,
		Err:  errors.New("status " + strconv.Itoa(resp.StatusCode) + " " + text),
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.Transient = true
	case http.StatusNotFound, http.StatusGone:
		e.Advice = "check the path"
	case http.StatusUnauthorized:
		e.Advice = "check the user name and the password before the host"
	case http.StatusPartialContent:
		e.Err = fmt.Errorf("%w: a part of the body, but the whole body was requested", e.Err)
	default:
		if redirects(resp.StatusCode) { // with a Location it would have been followed
			e.Err = fmt.Errorf("%w, without a Location", e.Err)
		}
	}
	return e
}
