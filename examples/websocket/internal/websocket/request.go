package websocket

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// MaxRequestBytes is the maximum length of the head of a request, and of a response.
const MaxRequestBytes = 8 << 10

// A Request is the opening handshake of a client (RFC 6455, 4.2.1). What the client offers of
// subprotocols and extensions is left out: it may always be declined.
type Request struct {
	Path   string // without the query
	Host   string
	Origin string // of the page, if the client is a browser
	Key    string // Sec-WebSocket-Key, for AppendAccept
}

// A RequestError is a request that is refused. Its Error has no client's bytes in it.
type RequestError struct {
	Status int    // of the response
	Reason string // its body
	Header string // another header field, which the status demands
}

// Error implements error.
func (e *RequestError) Error() string {
	return fmt.Sprintf("websocket: request refused: %s (%d)", e.Reason, e.Status)
}

func badRequest(reason string) error {
	return &RequestError{Status: http.StatusBadRequest, Reason: reason}
}

// headEnd ends the head of a request, and of a response.
var headEnd = []byte("\r\n\r\n")

// ParseRequest decodes the request at the beginning of b, and returns its length, or 0 if it is not
// complete. An error is a *RequestError.
//
// It is strict: the request has no body, lines end with CR LF, no line is folded, the target is a
// path, and header fields that decide something occur once.
func ParseRequest(b []byte) (r Request, n int, err error) {
	end := bytes.Index(b[:min(len(b), MaxRequestBytes)], headEnd)
	if end < 0 {
		if len(b) >= MaxRequestBytes {
			return Request{}, 0, &RequestError{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: fmt.Sprintf("the request has more than %d bytes", MaxRequestBytes)}
		}
		return Request{}, 0, nil
	}
	first, lines, _ := strings.Cut(string(b[:end]), "\r\n")
	var f fields
	if r.Path, err = parseTarget(first); err != nil {
		return Request{}, 0, err
	}
	if err := f.parse(lines); err != nil {
		return Request{}, 0, err
	}
	if err := f.check(); err != nil {
		return Request{}, 0, err
	}
	r.Host, r.Origin, r.Key = f.host.value, f.origin.value, f.key.value
	return r, end + len(headEnd), nil
}

// parseTarget returns the path of the first line of a request.
func parseTarget(line string) (path string, err error) {
	method, rest, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(rest, " ")
	switch {
	case !isToken(method), version != "HTTP/1.1" && version != "HTTP/1.0":
		return "", badRequest("the request is not HTTP/1.1")
	case method != http.MethodGet:
		return "", &RequestError{Status: http.StatusMethodNotAllowed, Reason: "the method is not GET", Header: "Allow: GET\r\n"}
	case version == "HTTP/1.0":
		return "", &RequestError{Status: http.StatusHTTPVersionNotSupported, Reason: "a WebSocket begins with HTTP/1.1"}
	case !strings.HasPrefix(target, "/"):
		return "", badRequest("the target is not a path")
	}
	for i := range len(target) {
		if target[i] <= ' ' || target[i] >= 0x7F {
			return "", badRequest("the target has an invalid character")
		}
	}
	path, _, _ = strings.Cut(target, "?")
	return path, nil
}

// fields are the header fields that the handshake needs, in a request or in a response.
type fields struct {
	host, origin, key, version, accept once

	upgrade, connection bool // has the token
	body                bool
}

// once is the value of a field that must not be repeated.
type once struct {
	value string
	n     int
}

func (o *once) set(value string) { o.value, o.n = value, o.n+1 }

// parse decodes the lines of the header.
func (f *fields) parse(lines string) error {
	for line := range strings.SplitSeq(lines, "\r\n") {
		if line == "" && lines == "" {
			return nil // there are no fields
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) { // a folded line begins with a space, which no token has
			return badRequest("a header field has no valid name")
		}
		value = strings.Trim(value, " \t")
		for i := range len(value) {
			if value[i] < ' ' && value[i] != '\t' || value[i] == 0x7F {
				return badRequest("a header field has a control character")
			}
		}
		f.set(strings.ToLower(name), value)
	}
	return nil
}

func (f *fields) set(name, value string) {
	switch name {
	case "host":
		f.host.set(value)
	case "origin":
		f.origin.set(value)
	case "sec-websocket-key":
		f.key.set(value)
	case "sec-websocket-version":
		f.version.set(value)
	case "sec-websocket-accept":
		f.accept.set(value)
	case "upgrade":
		f.upgrade = f.upgrade || hasToken(value, "websocket")
	case "connection":
		f.connection = f.connection || hasToken(value, "upgrade")
	case "content-length":
		f.body = f.body || value != "0"
	case "transfer-encoding":
		f.body = true
	}
}

// check checks what RFC 6455, 4.2.1 demands.
func (f *fields) check() error {
	key, err := base64.StdEncoding.Strict().DecodeString(f.key.value)
	switch {
	case f.host.n != 1:
		return badRequest("there is not exactly one Host")
	case f.body:
		return badRequest("the request has a body")
	case !f.upgrade || !f.connection:
		return &RequestError{
			Status: http.StatusUpgradeRequired, Reason: "this is a WebSocket: Upgrade: websocket and Connection: Upgrade are missing",
			Header: "Upgrade: websocket\r\n",
		}
	case f.version.n != 1 || f.version.value != "13":
		return &RequestError{Status: http.StatusUpgradeRequired, Reason: "Sec-WebSocket-Version is not 13", Header: "Sec-WebSocket-Version: 13\r\n"}
	case f.key.n != 1 || err != nil || len(key) != keyBytes:
		return badRequest("Sec-WebSocket-Key is not 16 bytes in base64")
	case f.origin.n > 1:
		return badRequest("there is more than one Origin")
	}
	return nil
}

// isToken reports whether s is a token (RFC 9110, 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && !strings.Contains("!#$%&'*+-.^_`|~", string(rune(c))) {
			return false
		}
	}
	return s != ""
}

// hasToken reports whether a list has the token, in upper or lower case.
func hasToken(list, token string) bool {
	for t := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.Trim(t, " \t"), token) {
			return true
		}
	}
	return false
}
