package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// valid is a request, with the key of RFC 6455, 1.3.
const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	valid        = "GET /chat?x=1 HTTP/1.1\r\nHost: server.example:8000\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
		"Sec-WebSocket-Key: " + sampleKey + "\r\nOrigin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

// A request is complete at its last byte, and not before.
func TestRequestIsParsedWhenItIsComplete(t *testing.T) {
	const after = "what follows"
	for i := range len(valid) {
		if _, n, err := ParseRequest([]byte(valid[:i])); n != 0 || err != nil {
			t.Fatalf("after %d bytes: %d, %v", i, n, err)
		}
	}
	r, n, err := ParseRequest([]byte(valid + after))
	want := Request{Path: "/chat", Host: "server.example:8000", Origin: "http://example.com", Key: sampleKey}
	if r != want || n != len(valid) || err != nil {
		t.Errorf("got %+v, %d, %v, want %+v", r, n, err, want)
	}
}

// changed returns valid with a part replaced.
func changed(t *testing.T, from, to string) string {
	t.Helper()
	if strings.Count(valid, from) != 1 {
		t.Fatalf("the request does not have %q once", from)
	}
	return strings.Replace(valid, from, to, 1)
}

// Requests that RFC 6455 and RFC 9112 allow are accepted.
func TestRequestsThatAreAllowed(t *testing.T) {
	for _, request := range []string{
		changed(t, "Upgrade: websocket", "uPGRADE:\tWebSocket \t"),
		changed(t, "Upgrade: websocket", "Upgrade: h2c , websocket"),
		changed(t, "Connection: keep-alive, Upgrade", "Connection: keep-alive\r\nConnection: UPGRADE"),
		changed(t, "Origin: http://example.com\r\n", ""),
		changed(t, "Origin:", "Content-Length: 0\r\nOrigin:"),
		changed(t, "Origin:", "X-Anything: \xE9\t!\r\nOrigin:"),
		changed(t, "/chat?x=1", "/"),
	} {
		if _, n, err := ParseRequest([]byte(request)); n != len(request) || err != nil {
			t.Errorf("%q: %d, %v", request, n, err)
		}
	}
}

// A request that is not allowed is refused, with the status that its mistake has.
func TestRequestsThatAreRefused(t *testing.T) {
	long := "X: " + strings.Repeat("x", MaxRequestBytes)
	for _, c := range []struct {
		from, to string
		status   int
	}{
		{"GET", "POST", 405},
		{"GET", "get", 405},
		{"GET ", "GET  ", 400},
		{"GET ", " ", 400},
		{"HTTP/1.1", "HTTP/1.0", 505},
		{"HTTP/1.1", "HTTP/2.0", 400},
		{" HTTP/1.1", "", 400},
		{" HTTP/1.1", " HTTP/1.1 ", 400},
		{"/chat", "http://server.example/chat", 400},
		{"/chat", "*", 400},
		{"/chat", "/ch\x00at", 400},
		{"/chat", "/ch\xE9at", 400},
		{"/chat", "/ch\rat", 400},
		{"Host: server.example:8000\r\n", "", 400},
		{"Host:", "Host: other\r\nHost:", 400},
		{"Host:", "Host :", 400},
		{"Host:", " Host:", 400},
		{"Host:", ": x\r\nHost:", 400},
		{"Host:", "no colon\r\nHost:", 400},
		{"Host:", "\nHost:", 400},
		{"example:8000", "example\n8000", 400},
		{"example:8000", "example\r\n folded", 400},
		{"example:8000", "example\x7F", 400},
		{"Upgrade: websocket\r\n", "", 426},
		{"Upgrade: websocket", "Upgrade: websockets", 426},
		{"keep-alive, Upgrade", "keep-alive", 426},
		{"Version: 13", "Version: 8", 426},
		{"Version: 13", "Version: 13, 8", 426},
		{"Sec-WebSocket-Version: 13\r\n", "", 426},
		{"Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13", 426},
		{"Sec-WebSocket-Key: " + sampleKey + "\r\n", "", 400},
		{sampleKey, sampleKey + "\r\nSec-WebSocket-Key: " + sampleKey, 400},
		{sampleKey, "dGhlIHNhbXBsZSBub25jZQ", 400},
		{sampleKey, "dGhlIHNhbXBsZSBub25jZR==", 400},
		{sampleKey, "dGhlIHNhbXBsZSBub25jZSEh", 400},
		{"Origin:", "Origin: http://example.org\r\nOrigin:", 400},
		{"Origin:", "Content-Length: 5\r\nOrigin:", 400},
		{"Origin:", "Transfer-Encoding: chunked\r\nOrigin:", 400},
		{"Origin:", long + "\r\nOrigin:", 431},
		{"Origin: http://example.com\r\n", long, 431},
	} {
		request := changed(t, c.from, c.to)
		_, n, err := ParseRequest([]byte(request))
		refused := (*RequestError)(nil)
		if !errors.As(err, &refused) || refused.Status != c.status || n != 0 {
			t.Errorf("%q instead of %q: %d, %v, want status %d", c.to, c.from, n, err, c.status)
			continue
		}
		checkRefusal(t, refused)
	}
}

// checkRefusal checks that the response is HTTP, as package net/http has it.
func checkRefusal(t *testing.T, e *RequestError) {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(e.AppendResponse(nil))), nil)
	if err != nil {
		t.Fatalf("%v: the response is invalid: %v", e, err)
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(r.Body); err != nil || body.String() != e.Reason+"\n" || !r.Close || r.StatusCode != e.Status {
		t.Errorf("%v: the response is %v, %q, %v", e, r.Status, body.String(), err)
	}
	if e.Status == 426 && r.Header.Get("Upgrade") == "" && r.Header.Get("Sec-WebSocket-Version") == "" || e.Status == 405 && r.Header.Get("Allow") != "GET" {
		t.Errorf("%v: the response lacks a header field: %v", e, r.Header)
	}
}

// A request that ends later than its limit is refused as soon as that is certain.
func TestRequestsAreBounded(t *testing.T) {
	b := []byte(valid[:len(valid)-2] + "X: " + strings.Repeat("x", MaxRequestBytes))
	for n := range MaxRequestBytes + 1 {
		if _, _, err := ParseRequest(b[:n]); err != nil != (n == MaxRequestBytes) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}

// The response to a request is accepted by its client, and by no other one.
func TestResponse(t *testing.T) {
	if got := accept(sampleKey); got != sampleAccept {
		t.Errorf("the accept value of RFC 6455, 1.3 is %q, want %q", got, sampleAccept)
	}
	key := [16]byte{1, 2, 3}
	r, _, err := ParseRequest(AppendRequest(nil, "server.example", "/hub/x", key))
	if err != nil || r.Path != "/hub/x" || r.Host != "server.example" {
		t.Fatalf("got %+v, %v", r, err)
	}
	response := string(AppendAccept(nil, r.Key))
	for i := range len(response) {
		if n, err := ParseResponse([]byte(response[:i]), key); n != 0 || err != nil {
			t.Fatalf("after %d bytes: %d, %v", i, n, err)
		}
	}
	if n, err := ParseResponse([]byte(response+"after"), key); n != len(response) || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := ParseResponse([]byte(response), [16]byte{1, 2, 4}); !errors.Is(err, errNotAccepted) {
		t.Errorf("with another key: %v", err)
	}
	for _, broken := range []string{
		strings.Replace(response, "101", "200", 1), strings.Replace(response, "Upgrade: websocket\r\n", "", 1),
		strings.Replace(response, "Connection: Upgrade", "Connection: close", 1), strings.Replace(response, "Connection", "\nConnection", 1),
		string((&RequestError{Status: 404, Reason: "no"}).AppendResponse(nil)), strings.Repeat("x", MaxRequestBytes),
	} {
		if _, err := ParseResponse([]byte(broken), key); err == nil {
			t.Errorf("%q is accepted", broken)
		}
	}
}

// What ParseRequest accepts, package net/http reads in the same way.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(valid))
	for _, part := range []string{"Host: h\r\n", "\r\n", "\n", " ", "\t", ":", ",", "\x00", "upgrade", "Sec-WebSocket-Key"} {
		for i := 0; i < len(valid); i += 17 {
			f.Add([]byte(valid[:i] + part + valid[i:]))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		kept := slices.Clone(b)
		r, n, err := ParseRequest(b)
		if !bytes.Equal(b, kept) {
			t.Fatal("the request has changed")
		}
		if err != nil {
			refused := (*RequestError)(nil)
			if !errors.As(err, &refused) || n != 0 {
				t.Fatalf("%d, %v", n, err)
			}
			checkRefusal(t, refused)
			return
		}
		if n == 0 {
			return
		}
		h, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b[:n])))
		if err != nil {
			if strings.Contains(err.Error(), "malformed Host") || strings.Contains(err.Error(), "invalid URL escape") {
				return // the server does not rely on it: it compares Host with Origin only, and Path with names
			}
			t.Fatalf("%q is accepted, but not by net/http: %v", b[:n], err)
		}
		path, _, _ := strings.Cut(h.RequestURI, "?")
		if h.Method != "GET" || path != r.Path || h.Host != r.Host || h.Header.Get("Sec-WebSocket-Key") != r.Key || h.Header.Get("Origin") != r.Origin || h.ContentLength != 0 {
			t.Fatalf("%q: net/http has %s %q, %q, %v; got %+v", b[:n], h.Method, path, h.Host, h.Header, r)
		}
	})
}

func ExampleParseRequest() {
	r, n, err := ParseRequest([]byte(valid))
	fmt.Println(r.Path, n == len(valid), err)
	fmt.Printf("%.34s\n", AppendAccept(nil, r.Key))
	// Output:
	// /chat true <nil>
	// HTTP/1.1 101 Switching Protocols
}
