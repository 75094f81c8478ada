package websocket

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

const (
	keyBytes = 16
	// keySuffix is added to a client's key: only a server that knows the protocol does that.
	keySuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

// AppendAccept appends the response that accepts a request with the key.
func AppendAccept(dst []byte, key string) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	return append(append(dst, accept(key)...), headEnd...)
}

// accept returns the value of Sec-WebSocket-Accept (RFC 6455, 4.2.2).
func accept(key string) string {
	sum := sha1.Sum([]byte(key + keySuffix))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// AppendResponse appends the response that refuses a request.
func (e *RequestError) AppendResponse(dst []byte) []byte {
	return fmt.Appendf(dst, "HTTP/1.1 %d %s\r\n%sConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s\n",
		e.Status, http.StatusText(e.Status), e.Header, len(e.Reason)+1, e.Reason)
}

// AppendRequest appends the opening handshake of a client. The key is 16 random bytes, another one
// for each connection.
func AppendRequest(dst []byte, host, path string, key [keyBytes]byte) []byte {
	return fmt.Appendf(dst, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
		path, host, base64.StdEncoding.EncodeToString(key[:]))
}

var errNotAccepted = errors.New("websocket: the response does not accept this handshake; is there a cache or another server in between?")

// ParseResponse checks the response to a request with the key, which is at the beginning of b, and
// returns its length, or 0 if it is not complete.
func ParseResponse(b []byte, key [keyBytes]byte) (n int, err error) {
	end := bytes.Index(b[:min(len(b), MaxRequestBytes)], headEnd)
	if end < 0 {
		if len(b) >= MaxRequestBytes {
			return 0, fmt.Errorf("websocket: the response to the handshake has more than %d bytes", MaxRequestBytes)
		}
		return 0, nil
	}
	first, lines, _ := strings.Cut(string(b[:end]), "\r\n")
	if !strings.HasPrefix(first, "HTTP/1.1 101 ") {
		return 0, fmt.Errorf("websocket: the server refused the handshake: %.100q", first)
	}
	var f fields
	if err := f.parse(lines); err != nil {
		return 0, fmt.Errorf("websocket: the response to the handshake is invalid: %w", err)
	}
	if !f.upgrade || !f.connection || f.accept.n != 1 || f.accept.value != accept(base64.StdEncoding.EncodeToString(key[:])) {
		return 0, errNotAccepted
	}
	return end + len(headEnd), nil
}
