package clienthello

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// FuzzParse compares the parser with crypto/tls: what crypto/tls takes, the parser reports equally, and never later.
func FuzzParse(f *testing.F) {
	for _, config := range configs {
		f.Add(firstFlight(f, config), byte(0))
	}
	f.Add(split(firstFlight(f, configs["ALPN"]), func() int { return 1 }), byte(7))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), byte(1))
	f.Add(withExtensions(extServerName, "\x00\x08\x01\x00\x01a\x00\x00\x01b", extALPN, "\x00\x04\x01h\x01i"), byte(3))
	f.Fuzz(func(t *testing.T, b []byte, step byte) {
		h, more, err := new(Parser).Parse(b)
		if states := fmt.Sprint(h != nil, more > 0, err != nil); strings.Count(states, "true") != 1 {
			t.Fatalf("%+v, %d more, %v", h, more, err)
		}
		if len(b)+more > MaxBytes && more > 0 {
			t.Fatalf("%d bytes and %d more", len(b), more)
		}
		if step > 0 {
			checkSteps(t, b, int(step), h, err)
		}
		want, ok := seenByGo(b)
		switch {
		case ok && h == nil && !passedOn(b, err):
			t.Fatalf("crypto/tls reads %+v, the parser: %d more, %v", want, more, err)
		case ok && h != nil && (h.ServerName != want.ServerName || !slices.Equal(h.Protocols, want.Protocols) || !slices.Equal(h.Versions, want.Versions)):
			t.Fatalf("%+v, crypto/tls reads %+v", h, want)
		}
	})
}

// passedOn reports whether a ClientHello that crypto/tls takes may be refused: it is too large or has too many
// extensions, or follows a warning. Refused bytes are passed on to crypto/tls.
func passedOn(b []byte, err error) bool {
	return errors.Is(err, ErrTooLarge) || b[0] == 21 || bytes.IndexByte(b, 21) > 0 && errors.Is(err, ErrNotTLS) || len(b) > 4*maxExtensions && errors.Is(err, ErrMalformed)
}

// checkSteps fails unless the bytes give the same in steps as at once.
func checkSteps(t *testing.T, b []byte, step int, want *Hello, wantErr error) {
	t.Helper()
	var p Parser
	for n := 0; ; n = min(n+step, len(b)) {
		h, more, err := p.Parse(b[:n])
		if h == nil && err == nil && n < len(b) {
			if more <= 0 {
				t.Fatalf("%d of %d bytes: nothing", n, len(b))
			}
			continue
		}
		if (h != nil) != (want != nil) || fmt.Sprint(err) != fmt.Sprint(wantErr) || h != nil && h.Bytes != want.Bytes {
			t.Fatalf("in steps %+v, %v; at once %+v, %v", h, err, want, wantErr)
		}
		return
	}
}
