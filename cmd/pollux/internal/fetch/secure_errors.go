package fetch

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pollux-io/pollux/tlsconn"
)

// maxNames bounds the names of a certificate in a message.
const maxNames = 3

var (
	errNotTLS    = errors.New("the server's answer is not TLS")
	errPlainHTTP = errors.New("the server gave an HTTP response to an HTTPS client")
	errTruncated = errors.New("the connection was cut short: the server ended it without TLS's close_notify, so bytes may be missing")
)

// handshakeFailure returns the error of a TLS handshake with the server of u, at addr, which has failed with err.
func handshakeFailure(u *url.URL, addr net.Addr, err error) *Error {
	e := &Error{Step: "set up TLS with " + u.Host, Err: err}
	if p, _ := port(u); addr != nil && addr.String() != net.JoinHostPort(u.Hostname(), strconv.Itoa(int(p))) {
		e.Step += " (" + addr.String() + ")"
	}
	header, isHeader := errors.AsType[tls.RecordHeaderError](err)
	switch alert, isAlert := remoteAlert(err); {
	case isAlert:
		e.Advice, e.Transient, e.Err = refusal(alert)
	case isCertificateError(err):
		e.Advice, e.Err = certificateFailure(err)
	case isHeader && bytes.HasPrefix(header.RecordHeader[:], httpPrefix):
		e.Err, e.Advice = errPlainHTTP, "write http:// instead of https://, or check the port"
	case isHeader:
		e.Err, e.Advice = errNotTLS, "check that this port speaks TLS"
	case isTimeout(err), errors.Is(err, tlsconn.ErrHandshakeTimeout):
		e.Err, e.Transient = errors.New(noAnswer), true
		e.Advice = "raise --connect-timeout, or --idle-timeout if that is 0s, if the server needs longer"
	case errors.Is(err, io.ErrUnexpectedEOF):
		e.Err, e.Transient = errors.New("the server closed the connection during the handshake"), true
	default:
		if text, ok := protocolError(err); ok {
			e.Err, e.Advice = errors.New(oneLine(text)), protocolAdvice(text)
		} else {
			e.Transient = true
		}
	}
	return e
}

// protocolError returns the text of an error of crypto/tls about what the server has sent; ok is false for an error of the
// connection.
func protocolError(err error) (text string, ok bool) {
	if op, isOp := errors.AsType[*net.OpError](err); isOp {
		err = op.Err
	}
	return strings.CutPrefix(strings.TrimPrefix(err.Error(), "local error: "), "tls: ")
}

// remoteAlert returns the text of the alert with which the server has ended a connection (RFC 8446, section 6.2).
func remoteAlert(err error) (text string, ok bool) {
	for {
		op, ok := errors.AsType[*net.OpError](err)
		switch {
		case !ok:
			return "", false
		case op.Op == "remote error":
			return strings.TrimPrefix(op.Err.Error(), "tls: "), true
		}
		err = op.Err
	}
}

// refusal returns the error for an alert of the server.
func refusal(alert string) (advice string, transient bool, err error) {
	return protocolAdvice(alert), alert == "internal error", fmt.Errorf("the server refused the connection by the alert %q", alert)
}

// protocolAdvice returns advice for the text of an alert, or of an error of crypto/tls.
func protocolAdvice(text string) string {
	switch {
	case strings.Contains(text, "certificate required"):
		return "it asks for a client certificate, which pollux cannot send"
	case strings.Contains(text, "bad certificate"):
		return "it may ask for a client certificate, which pollux cannot send"
	case strings.Contains(text, "protocol version"):
		return "it supports neither TLS 1.2 nor 1.3"
	case strings.Contains(text, "handshake failure"):
		return "it has no cipher suite or curve in common with pollux, or asks for a client certificate, which pollux cannot send"
	case strings.Contains(text, "unrecognized name"):
		return "it does not serve this name: check the host"
	case strings.Contains(text, "no application protocol"):
		return "it does not offer HTTP/1.1"
	}
	return ""
}

func isCertificateError(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// certificateFailure returns the error for a certificate that could not be verified. Texts of the certificate are the server's:
// oneLine makes them safe.
func certificateFailure(err error) (advice string, cause error) {
	verification, _ := errors.AsType[*tls.CertificateVerificationError](err)
	var leaf *x509.Certificate
	if len(verification.UnverifiedCertificates) > 0 {
		leaf = verification.UnverifiedCertificates[0]
	}
	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		return "check the host in the URL", wrongHost(name.Certificate, name.Host)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "check the clock of this machine; if it is right, the server needs another certificate", outOfDate(invalid.Cert, leaf, time.Now())
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok && leaf != nil {
		if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
			return "if you trust it, give it by --cacert", errors.New("the certificate is self-signed, and not among the trusted ones")
		}
		return "if you trust the authority, give its certificate by --cacert; the server may also lack an intermediate certificate",
			fmt.Errorf("the certificate is signed by an unknown authority, %s", quoted(leaf.Issuer.String()))
	}
	if roots, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return "give those that you trust by --cacert", fmt.Errorf("the system's certificates of authorities cannot be loaded: %s", oneLine(roots.Error()))
	}
	return "", fmt.Errorf("the certificate is invalid: %s", oneLine(strings.TrimPrefix(verification.Err.Error(), "x509: ")))
}

// wrongHost returns the error for a certificate that is not for host.
func wrongHost(c *x509.Certificate, host string) error {
	var names []string
	for _, name := range c.DNSNames {
		names = append(names, oneLine(name))
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return fmt.Errorf("the certificate is for no host, not for %s", host)
	}
	list := strings.Join(names[:min(len(names), maxNames)], ", ")
	if more := len(names) - maxNames; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Errorf("the certificate is for %s, not for %s", list, host)
}

// outOfDate returns the error for a certificate that is not valid now: the server's, leaf, or another of its chain.
func outOfDate(c, leaf *x509.Certificate, now time.Time) error {
	which := "the certificate"
	if leaf != nil && !c.Equal(leaf) {
		which = "the certificate of the authority " + quoted(c.Subject.String())
	}
	if now.Before(c.NotBefore) {
		return fmt.Errorf("%s is not valid before %s", which, c.NotBefore.UTC().Format(time.DateTime+" MST"))
	}
	return fmt.Errorf("%s expired at %s", which, c.NotAfter.UTC().Format(time.DateTime+" MST"))
}

func quoted(text string) string { return `"` + oneLine(text) + `"` }

// oneLine returns text that a server sent on one line, without control characters and clipped.
func oneLine(text string) string {
	return clip(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, text))
}
