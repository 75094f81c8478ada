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

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/cmd/pollux/internal/limits"
	"github.com/pollux-io/pollux/cmd/pollux/internal/nametext"
	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/tlsconn"
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
	var several attempts
	var name *dns.Error
	var errno syscall.Errno
	var op *net.OpError
	switch {
	case errors.As(err, &several):
		return several.Error()
	case errors.As(err, &name):
		return plainLookup(name)
	case isTimeout(err):
		return noAnswer
	case errors.As(err, &errno):
		return errno.Error() + hint(err)
	case errors.As(err, &op) && op.Addr != nil:
		return strings.TrimPrefix(op.Err.Error(), op.Addr.String()+": ")
	case errors.As(err, &op):
		return op.Err.Error()
	}
	return err.Error()
}

// hint returns what err says behind the text of the system call that has failed, such as that the zone of an address is
// missing; "" if that is nothing.
func hint(err error) string {
	call, ok := errors.AsType[*os.SyscallError](err)
	if !ok {
		return ""
	}
	_, more, _ := strings.Cut(err.Error(), call.Error())
	return more
}

// plainLookup returns the text of a failed lookup, without the name, and with the server that was
// asked last.
func plainLookup(e *dns.Error) string {
	var text string
	var system *net.DNSError
	switch {
	case e.Err == dns.ErrNoName: // without a reason of its own
		return "no such name"
	case errors.Is(e, dns.ErrNoData):
		return "the name has no address"
	case isTimeout(e):
		text = noAnswer
	case errors.As(e, &system):
		text = system.Err
	default:
		text = nametext.Plain(e.Err)
	}
	switch n := len(e.Steps); n {
	case 0:
		return text
	case 1:
		return fmt.Sprintf("%s (name server %v)", text, e.Steps[0].Server)
	default:
		return fmt.Sprintf("%s (%d attempts, the last at name server %v)", text, n, e.Steps[n-1].Server)
	}
}

const noAnswer = "no answer in time"

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
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
	addr string // with the port
	err  error
}

// attemptsOf returns the attempts of a dial of u that has failed with err.
func attemptsOf(u *url.URL, err error) attempts {
	errs := []error{err}
	if several, ok := errors.AsType[*dns.AttemptsError](err); ok {
		errs = several.Errs
	}
	tried := make(attempts, len(errs))
	for i, err := range errs {
		p, _ := port(u)
		tried[i] = attempt{net.JoinHostPort(u.Hostname(), strconv.Itoa(int(p))), err}
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
			tried[i].addr = op.Addr.String()
		}
	}
	return tried
}

// Error implements error.
func (a attempts) Error() string {
	list := make([]string, len(a))
	for i, t := range a {
		list[i] = t.addr + ": " + plain(t.err)
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

// dialFailure returns the error of a host that could not be looked up or connected to.
func dialFailure(u *url.URL, err error) *Error {
	if e, ok := errors.AsType[*dns.Error](err); ok {
		return lookupFailure(u.Hostname(), e)
	}
	return connectFailure(u, attemptsOf(u, err))
}

// connectFailure returns the error of a host whose addresses have all failed.
func connectFailure(u *url.URL, tried attempts) *Error {
	e := &Error{Transient: true}
	if len(tried) == 1 {
		e.Step, e.Err = "connect to "+tried[0].addr, tried[0].err
	} else {
		e.Step, e.Err = "connect to "+u.Host, tried
	}
	err := e.Err
	switch {
	case limits.Exhausted(err):
		e.Advice = limits.Advice
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Advice = "no server listens there: check host and port"
	case lacksZone(tried) && !isTimeout(err):
		e.Advice = "in a URL write the % as %25"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.Advice = "no local port is free: lower --parallel, or widen the port range (pollux doctor)"
	case errors.Is(err, syscall.ENOSPC):
		e.Advice = "raise fs.epoll.max_user_watches (pollux doctor)"
	case isTimeout(err):
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
	return slices.ContainsFunc(tried, func(t attempt) bool { return strings.Contains(t.addr, "%") })
}

// lacksZone reports whether an address was tried that needs a zone, and has none.
func lacksZone(tried attempts) bool {
	return slices.ContainsFunc(tried, func(t attempt) bool {
		addr, err := netip.ParseAddrPort(t.addr)
		return err == nil && addr.Addr().Zone() == "" && addr.Addr().Is6() && addr.Addr().IsLinkLocalUnicast()
	})
}

func lookupFailure(host string, err *dns.Error) *Error {
	e := &Error{Step: "look up " + host, Err: err, Advice: "check the network and its name servers", Transient: true}
	switch {
	case err.Err == dns.ErrNoName, errors.Is(err, dns.ErrNoData):
		e.Advice, e.Transient = "check the spelling", false
	case errors.Is(err, dns.ErrNoName), errors.Is(err, pollux.ErrBadArgument):
		e.Advice, e.Transient = "", false // the error has the reason
	case limits.Exhausted(err):
		e.Advice = limits.Advice
	}
	return e
}

// answerFailure returns the error of a failure after the connection was opened.
func answerFailure(u *url.URL, doing string, err error) *Error {
	e := &Error{Step: doing + " " + u.Host, Err: err, Transient: true}
	if alert, ok := remoteAlert(err); ok { // with TLS 1.3 the server may refuse after the client's handshake has ended
		e.Advice, e.Transient, e.Err = refusal(alert)
		return e
	}
	switch {
	case errors.Is(err, tlsconn.ErrTruncated):
		e.Err = errTruncated
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
